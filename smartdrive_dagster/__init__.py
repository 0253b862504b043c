"""SmartDrive: what a car says on its OBD-II port, as Delta tables that its owner keeps."""
