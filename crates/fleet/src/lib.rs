//! Spot capacity: launch templates, fleets, scaling policy, the manager's Auto Scaling group.
