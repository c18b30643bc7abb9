-- name: limit_wait
-- until the transaction ends
SELECT set_config('lock_timeout', $1, true);

-- name: wait_for_partition
-- no worker moves the subjects of this partition until the transaction ends
SELECT FROM partitions WHERE id = $1 FOR UPDATE;
