"""What every node shares: parameters, quality of service, diagnostics, image conversion, mailbox and wiring."""
