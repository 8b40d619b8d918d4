"""Reading: features, span decoding, answers, metrics, augmentation."""
