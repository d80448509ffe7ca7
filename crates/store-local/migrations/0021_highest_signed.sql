-- The highest that files were signed as, by themselves, channel by channel.
CREATE TABLE highest_signed (
    product TEXT NOT NULL,
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    PRIMARY KEY (product, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX highest_signed_by_epoch ON highest_signed (product, epoch);

-- Of what was signed so far. Versions are taken apart as far as text can be: numbers, then a release above its candidates,
-- then the longer candidate, so that `rc.10` is above `rc.9`. Distinct ones first: there are few, and millions of signatures.
INSERT INTO highest_signed (product, channel, version, epoch)
WITH signed AS (
    SELECT DISTINCT jobs.product, asked ->> '$.channel' AS channel, asked ->> '$.version' AS version,
                    asked ->> '$.epoch' AS epoch
    FROM signatures JOIN jobs ON jobs.id = signatures.request
    -- What is damaged is set aside when it is asked for.
    WHERE json_valid(asked)
), named AS (
    SELECT *, substr(version, 1, instr(version || '+', '+') - 1) AS name FROM signed
    WHERE typeof(channel) = 'text' AND typeof(version) = 'text' AND typeof(epoch) = 'integer'
), numbered AS (
    SELECT *, substr(name, 1, instr(name || '-', '-') - 1) AS numbers FROM named
), split AS (
    SELECT *, substr(numbers, instr(numbers, '.') + 1) AS rest FROM numbered
), ranked AS (
    SELECT *, max(epoch) OVER (PARTITION BY product, channel) AS highest,
           row_number() OVER (
               PARTITION BY product, channel
               ORDER BY CAST(numbers AS INTEGER) DESC, CAST(rest AS INTEGER) DESC,
                        CAST(substr(rest, instr(rest, '.') + 1) AS INTEGER) DESC,
                        name = numbers DESC, length(name) DESC, version DESC
           ) AS place
    FROM split
)
SELECT product, channel, version, highest FROM ranked WHERE place = 1;
