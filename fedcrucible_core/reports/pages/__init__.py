"""Pages: sentences, tables and charts as one HTML file."""
