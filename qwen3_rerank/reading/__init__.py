"""Reading and writing of files, shared by the programs."""
