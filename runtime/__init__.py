"""What every command needs: errors, files, logging, seeding, device, checkpoints, tracking."""
