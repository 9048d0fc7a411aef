//! What every layer's plan is made of: changes, plans, tags, progress events.
