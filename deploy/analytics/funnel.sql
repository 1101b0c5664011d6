-- What became of what was sent, for each day and session: accepted → delivered → read,
-- and how long it took. Statuses come late, twice or out of order: the first time
-- of each word counts, and who has read a message has got it.
WITH sent AS (
  SELECT
    session,
    coalesce(id, ref) AS command, -- what was refused has no id
    min(occurred) AS occurred,
    min(occurred) FILTER (status = 'accepted') AS accepted,
    min(occurred) FILTER (status IN ('delivered', 'read', 'played')) AS delivered,
    min(occurred) FILTER (status IN ('read', 'played')) AS read,
    bool_or(status IN ('rejected', 'expired', 'unknown', 'failed')) AS failed
  FROM read_parquet('statuses/*.parquet')
  WHERE NOT (status = 'accepted' AND id IS NULL) -- marks as read and typing
  GROUP BY ALL
)
SELECT
  CAST(occurred AS DATE) AS day,
  session,
  count(*) AS commands,
  count(accepted) AS accepted,
  count(delivered) AS delivered,
  count(read) AS read,
  count(*) FILTER (failed) AS failed,
  round(100.0 * count(delivered) / count(*), 1) AS delivered_percent,
  round(100.0 * count(read) / nullif(count(delivered), 0), 1) AS read_percent,
  median(epoch(delivered) - epoch(accepted)) AS seconds_to_deliver,
  median(epoch(read) - epoch(delivered)) AS seconds_to_read
FROM sent
GROUP BY ALL
ORDER BY day, session;
