-- Hosts that sites have lost: what caches in front hold under them is purged like anything else, by a row
-- that outlives whoever noticed.

ALTER TABLE emperor.purges DROP CONSTRAINT purges_kind_check;
ALTER TABLE emperor.purges ADD CONSTRAINT purges_kind_check
    CHECK (kind IN ('path', 'prefix', 'tag', 'site', 'host'));

-- Purges all that stands under hosts, each beside the site that had it; the sites may be gone. Returns the
-- id of the last purge.
CREATE FUNCTION emperor.purge_hosts(site_ids bigint[], hosts text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event bigint;
BEGIN
    WITH recorded AS (
        INSERT INTO emperor.purges (site_id, kind, names)
        SELECT u.site_id, 'host', array_agg(DISTINCT u.host ORDER BY u.host)
        FROM unnest(site_ids, hosts) u (site_id, host)
        WHERE u.host IS NOT NULL
        GROUP BY u.site_id ORDER BY u.site_id
        RETURNING id
    )
    SELECT max(r.id) INTO event FROM recorded r;
    IF event IS NOT NULL THEN
        PERFORM emperor.wake_purge_readers();
    END IF;
    RETURN event;
END
$$;

REVOKE ALL ON FUNCTION emperor.purge_hosts(bigint[], text[]) FROM PUBLIC;
