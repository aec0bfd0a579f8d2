"""Where the models live: in this process or in a child; importing it loads no model library."""
