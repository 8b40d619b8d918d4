"""The text-level steps of reading: loading, features, span decoding, metrics, augmentation."""
