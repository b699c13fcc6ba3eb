"""The same work done with other tools, each as well as we know how."""
