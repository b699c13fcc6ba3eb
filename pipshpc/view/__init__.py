"""What people see of a campaign while it runs and afterwards: status, watch, report."""
