"""Results become images, archives, directories, registry pushes and metadata. Import from the modules."""
