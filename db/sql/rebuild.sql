-- name: wait_for_partition
-- no worker moves the subjects of this partition until the transaction ends
SELECT FROM partitions WHERE id = $1 FOR UPDATE;
