-- Sites that Django keeps. Their rows are read from its own tables; the schema has what Django has no
-- column for, and no function takes a site for missing because its row isn't in emperor.sites.

-- No foreign key: Django may drop its table and make it anew, and what was said of a site outlives that.
CREATE TABLE emperor.django_sites (
    site_id bigint PRIMARY KEY,
    -- NULL: made from the domain.
    slug text UNIQUE,
    enabled boolean NOT NULL DEFAULT true,
    template text NOT NULL DEFAULT '',
    extra_config text NOT NULL DEFAULT '',
    run_as text NOT NULL DEFAULT '',
    pool text,
    CONSTRAINT site_id_is_positive CHECK (site_id > 0),
    CONSTRAINT slug_is_a_dns_label CHECK (
        slug COLLATE "C" ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
    )
);

CREATE TRIGGER notify_insert AFTER INSERT ON emperor.django_sites
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_update AFTER UPDATE ON emperor.django_sites
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_delete AFTER DELETE ON emperor.django_sites
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();
CREATE TRIGGER notify_truncate AFTER TRUNCATE ON emperor.django_sites
FOR EACH STATEMENT EXECUTE FUNCTION emperor.notify_site_ids();

-- In which schema Django's tables are, where sites are read from there. One row at most.
CREATE TABLE emperor.django_source (
    is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    schema_name text NOT NULL
);

-- The ids of Django's sites, or of one of them. Its text is made when it runs, so that nothing here
-- keeps Django from changing its table, and a table that is gone has no sites.
CREATE FUNCTION emperor.django_site_ids(wanted bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sites regclass;
BEGIN
    SELECT to_regclass(format('%I.django_site', d.schema_name)) INTO sites
    FROM emperor.django_source d;
    IF sites IS NULL OR NOT has_table_privilege(sites, 'SELECT') THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT s.id::bigint FROM %s s WHERE $1 IS NULL OR s.id = $1', sites
    ) USING wanted;
END
$$;

CREATE OR REPLACE FUNCTION emperor.has_site(site bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM emperor.sites s WHERE s.id = site)
        OR EXISTS (SELECT FROM emperor.django_site_ids(site))
$$;

-- Reloads of a site that isn't in emperor.sites are counted too; those of one that was, go with it.
ALTER TABLE emperor.reloads DROP CONSTRAINT reloads_site_id_fkey;

CREATE FUNCTION emperor.forget_reloads() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM emperor.reloads;
    ELSE
        DELETE FROM emperor.reloads r USING before_rows b
        WHERE r.site_id = b.id AND NOT emperor.has_site(b.id);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER forget_reloads_delete AFTER DELETE ON emperor.sites
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION emperor.forget_reloads();
CREATE TRIGGER forget_reloads_truncate AFTER TRUNCATE ON emperor.sites
FOR EACH STATEMENT EXECUTE FUNCTION emperor.forget_reloads();

CREATE OR REPLACE FUNCTION emperor.count_reloads() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked bigint[];
BEGIN
    -- The first of a transaction's requests takes the others along.
    IF NOT EXISTS (
        SELECT FROM emperor.reload_requests q
        WHERE q.transaction = NEW.transaction AND q.site_id = NEW.site_id
    ) THEN
        RETURN NULL;
    END IF;
    WITH taken AS (
        DELETE FROM emperor.reload_requests q WHERE q.transaction = NEW.transaction
        RETURNING q.site_id
    )
    SELECT array_agg(t.site_id) INTO asked FROM taken t;
    asked := CASE
        WHEN 0 = ANY (asked) THEN ARRAY(
            SELECT s.id FROM emperor.sites s
            UNION SELECT d.id FROM emperor.django_site_ids(NULL) d (id) ORDER BY 1
        )
        ELSE ARRAY(SELECT a.id FROM unnest(asked) a (id) WHERE emperor.has_site(a.id) ORDER BY 1)
    END;
    INSERT INTO emperor.reloads AS r (site_id, count) SELECT unnest(asked), 1
    ON CONFLICT ON CONSTRAINT reloads_pkey DO UPDATE SET count = r.count + 1;
    PERFORM emperor.notify_ids(asked);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION emperor.reload(site_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF reload.site_id IS NULL THEN
        PERFORM emperor.request_reloads(ARRAY[0]);
    ELSIF emperor.has_site(reload.site_id) THEN
        PERFORM emperor.request_reloads(ARRAY[reload.site_id]);
    ELSE
        RAISE no_data_found USING MESSAGE = format('there is no site with id %s', reload.site_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION emperor.django_site_ids(bigint), emperor.forget_reloads() FROM PUBLIC;
