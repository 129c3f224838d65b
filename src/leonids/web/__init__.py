"""The page: a study's folder in a browser, live while another process writes it. It only ever reads."""
