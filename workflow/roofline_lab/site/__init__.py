"""The site: pages, tables and plots of all that is committed, to open in a browser from a file, without a network."""
