"""What every room may use and knows nothing of MobileBERT: errors, files, outputs, the hub, the command line."""
