"""What reads the lake for people: frames for notebooks and the HTML report."""
