"""The page of one user at `/demo/`, the components that it is made of, and the snippet for other pages."""
