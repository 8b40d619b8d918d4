"""What every command needs: errors, files, logging, device, tracking."""
