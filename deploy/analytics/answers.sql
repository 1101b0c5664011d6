-- How long users wait for an answer, for each day and session: from a message to the
-- first that was accepted after it in the same conversation. Of several messages
-- in a row the first one counts.
WITH turns AS (
  SELECT session, conversation, occurred, 'user' AS who FROM read_parquet('messages/*.parquet')
  UNION ALL
  SELECT session, conversation, occurred, 'business' FROM read_parquet('statuses/*.parquet')
  WHERE status = 'accepted' AND id IS NOT NULL
),
marked AS (
  SELECT *, lag(who) OVER (PARTITION BY session, conversation ORDER BY occurred, who DESC) AS before FROM turns
),
firsts AS ( -- the first of several in a row
  SELECT session, who, occurred, lead(occurred) OVER (PARTITION BY session, conversation ORDER BY occurred, who DESC) AS next
  FROM marked WHERE who IS DISTINCT FROM before
)
SELECT
  CAST(occurred AS DATE) AS day,
  session,
  count(*) AS questions,
  count(next) AS answered,
  median(epoch(next) - epoch(occurred)) AS seconds_to_answer,
  quantile_cont(epoch(next) - epoch(occurred), 0.95) AS seconds_to_answer_p95
FROM firsts
WHERE who = 'user'
GROUP BY ALL
ORDER BY day, session;
