-- Notifications on the channel "emperor", sent at commit: the ids of the rows to read again, or
-- "*" for all of them. They say nothing else; the rows do.

-- A payload has at most 7999 bytes, and an id with its comma at most 20; beyond some notifications
-- reading everything is cheaper than reading by id.
CREATE FUNCTION emperor.notify_ids(ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids_per_notification CONSTANT integer := 390;
    most_ids CONSTANT integer := 3900;
BEGIN
    IF coalesce(cardinality(ids), 0) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(ids) > most_ids THEN
        PERFORM pg_notify('emperor', '*');
        RETURN;
    END IF;
    FOR place IN 1 .. cardinality(ids) BY ids_per_notification LOOP
        PERFORM pg_notify(
            'emperor',
            array_to_string(ids[place : place + ids_per_notification - 1], ',')
        );
    END LOOP;
END
$$;

CREATE FUNCTION emperor.notify_sites() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN
            PERFORM emperor.notify_ids(ARRAY(SELECT id FROM after_rows ORDER BY 1));
        WHEN 'UPDATE' THEN
            PERFORM emperor.notify_ids(ARRAY(
                SELECT id FROM before_rows UNION SELECT id FROM after_rows ORDER BY 1
            ));
        WHEN 'DELETE' THEN
            PERFORM emperor.notify_ids(ARRAY(SELECT id FROM before_rows ORDER BY 1));
        ELSE
            PERFORM pg_notify('emperor', '*');
    END CASE;
    RETURN NULL;
END
$$;

-- For the tables whose rows belong to a site.
CREATE FUNCTION emperor.notify_site_ids() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN
            PERFORM emperor.notify_ids(ARRAY(SELECT DISTINCT site_id FROM after_rows ORDER BY 1));
        WHEN 'UPDATE' THEN
            PERFORM emperor.notify_ids(ARRAY(
                SELECT site_id FROM before_rows UNION SELECT site_id FROM after_rows ORDER BY 1
            ));
        WHEN 'DELETE' THEN
            PERFORM emperor.notify_ids(ARRAY(SELECT DISTINCT site_id FROM before_rows ORDER BY 1));
        ELSE
            PERFORM pg_notify('emperor', '*');
    END CASE;
    RETURN NULL;
END
$$;

CREATE TRIGGER notify_insert AFTER INSERT ON emperor.sites
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_sites();
CREATE TRIGGER notify_update AFTER UPDATE ON emperor.sites
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_sites();
CREATE TRIGGER notify_delete AFTER DELETE ON emperor.sites
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_sites();
CREATE TRIGGER notify_truncate AFTER TRUNCATE ON emperor.sites
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_sites();

CREATE TRIGGER notify_insert AFTER INSERT ON emperor.domains
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_update AFTER UPDATE ON emperor.domains
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_delete AFTER DELETE ON emperor.domains
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_truncate AFTER TRUNCATE ON emperor.domains
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();

CREATE TRIGGER notify_insert AFTER INSERT ON emperor.reloads
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_update AFTER UPDATE ON emperor.reloads
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_delete AFTER DELETE ON emperor.reloads
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_truncate AFTER TRUNCATE ON emperor.reloads
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();

-- Asks for new instances of a site; NULL: of every site. It counts up, so two calls in one
-- transaction are one reload, and a call that was missed is found at the next reading.
CREATE FUNCTION emperor.reload(site_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO emperor.reloads AS r (site_id, count)
    SELECT s.id, 1 FROM emperor.sites s
    WHERE reload.site_id IS NULL OR s.id = reload.site_id
    ORDER BY s.id
    ON CONFLICT ON CONSTRAINT reloads_pkey DO UPDATE SET count = r.count + 1;
    IF NOT FOUND AND reload.site_id IS NOT NULL THEN
        RAISE no_data_found USING MESSAGE = format('there is no site with id %s', reload.site_id);
    END IF;
END
$$;

-- Functions are everybody's by default; these are nobody's but by a GRANT.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA emperor FROM PUBLIC;
