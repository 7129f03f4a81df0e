"""The contestants as they run, one file each. A worker process imports the one that it needs."""
