-- One host, one site: across sites.domain and domains.host.
--
-- A row per host says who has it. Its primary key makes two transactions that want one host wait
-- for each other; who comes second looks whether the first still has it. The check is a constraint
-- trigger, immediate unless told otherwise: within SET CONSTRAINTS ALL DEFERRED two sites may swap
-- their hosts in one transaction.

CREATE TABLE emperor.host_claims (
    host text PRIMARY KEY,
    site_id bigint NOT NULL
);

-- Whether a site has a host, by the rows as they are now.
CREATE FUNCTION emperor.has_host(site bigint, wanted text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM emperor.sites s WHERE s.id = site AND s.domain = wanted)
        OR EXISTS (SELECT FROM emperor.domains d WHERE d.host = wanted AND d.site_id = site)
$$;

CREATE FUNCTION emperor.release_host(site bigint, freed text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM emperor.host_claims c
    WHERE c.host = freed AND c.site_id = site AND NOT emperor.has_host(site, freed);
END
$$;

CREATE FUNCTION emperor.claim_host(site bigint, wanted text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner bigint;
BEGIN
    -- Locks the host's row, whoever has it, and waits for a transaction that is at it.
    INSERT INTO emperor.host_claims AS c (host, site_id) VALUES (wanted, site)
    ON CONFLICT (host) DO UPDATE SET site_id = c.site_id
    RETURNING c.site_id INTO owner;
    IF owner = site THEN
        RETURN;
    END IF;
    IF emperor.has_host(owner, wanted) THEN
        RAISE unique_violation USING
            MESSAGE = format('host "%s" already belongs to site %s', wanted, (
                SELECT format('%s (%s)', s.id, s.slug) FROM emperor.sites s WHERE s.id = owner
            )),
            HINT = format('Take it from site %s first. To swap hosts in one transaction, begin '
                || 'it with SET CONSTRAINTS ALL DEFERRED.', owner),
            SCHEMA = 'emperor', TABLE = 'host_claims', CONSTRAINT = 'host_claims_pkey';
    END IF;
    UPDATE emperor.host_claims c SET site_id = site WHERE c.host = wanted;
END
$$;

-- A deferred trigger sees a row as it was when it was written; it may have changed again since. So
-- only a host that the site has now is claimed.
CREATE FUNCTION emperor.check_site_host() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.domain <> '' THEN
        PERFORM emperor.release_host(OLD.id, OLD.domain);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.domain <> '' AND emperor.has_host(NEW.id, NEW.domain) THEN
        PERFORM emperor.claim_host(NEW.id, NEW.domain);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION emperor.check_further_host() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM emperor.release_host(OLD.site_id, OLD.host);
    END IF;
    IF TG_OP <> 'DELETE' AND emperor.has_host(NEW.site_id, NEW.host) THEN
        PERFORM emperor.claim_host(NEW.site_id, NEW.host);
    END IF;
    RETURN NULL;
END
$$;

-- TRUNCATE fires no trigger of a row.
CREATE FUNCTION emperor.release_all_hosts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM emperor.host_claims c WHERE NOT emperor.has_host(c.site_id, c.host);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER host_of_new_row AFTER INSERT ON emperor.sites
DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW
WHEN (NEW.domain <> '') EXECUTE FUNCTION emperor.check_site_host();

CREATE CONSTRAINT TRIGGER host_of_changed_row AFTER UPDATE ON emperor.sites
DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW
WHEN (OLD.domain <> NEW.domain OR OLD.id <> NEW.id) EXECUTE FUNCTION emperor.check_site_host();

CREATE CONSTRAINT TRIGGER host_of_deleted_row AFTER DELETE ON emperor.sites
DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW
WHEN (OLD.domain <> '') EXECUTE FUNCTION emperor.check_site_host();

CREATE CONSTRAINT TRIGGER host_of_new_row AFTER INSERT ON emperor.domains
DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW
EXECUTE FUNCTION emperor.check_further_host();

CREATE CONSTRAINT TRIGGER host_of_changed_row AFTER UPDATE ON emperor.domains
DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW
WHEN (OLD.host <> NEW.host OR OLD.site_id <> NEW.site_id)
EXECUTE FUNCTION emperor.check_further_host();

CREATE CONSTRAINT TRIGGER host_of_deleted_row AFTER DELETE ON emperor.domains
DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW
EXECUTE FUNCTION emperor.check_further_host();

CREATE TRIGGER hosts_of_all_rows AFTER TRUNCATE ON emperor.sites
FOR EACH STATEMENT EXECUTE FUNCTION emperor.release_all_hosts();

CREATE TRIGGER hosts_of_all_rows AFTER TRUNCATE ON emperor.domains
FOR EACH STATEMENT EXECUTE FUNCTION emperor.release_all_hosts();
