//! What is where: records, orders, states and the leader's lease, on S3 and in memory.
