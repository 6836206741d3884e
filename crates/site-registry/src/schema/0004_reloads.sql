-- Reloads that rows of other tables ask for, and one count for all that a transaction asks.
--
-- A request is an insertion of the transaction's own, so no statement waits for another transaction
-- before it commits. The counts, which are shared, are raised at commit, in the order of ids, so that
-- two transactions never wait for each other, and cost one notification whatever was asked how often.

-- Holds rows only while their transaction is open. Site 0: every site.
CREATE TABLE emperor.reload_requests (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    site_id bigint NOT NULL,
    PRIMARY KEY (transaction, site_id)
);

CREATE FUNCTION emperor.request_reloads(sites bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO emperor.reload_requests (site_id) SELECT unnest(sites) ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION emperor.count_reloads() RETURNS trigger
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
    asked := ARRAY(
        SELECT s.id FROM emperor.sites s
        WHERE 0 = ANY (asked) OR s.id IN (SELECT unnest(asked))
        ORDER BY s.id
    );
    INSERT INTO emperor.reloads AS r (site_id, count) SELECT unnest(asked), 1
    ON CONFLICT ON CONSTRAINT reloads_pkey DO UPDATE SET count = r.count + 1;
    PERFORM emperor.notify_ids(asked);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER count_reloads AFTER INSERT ON emperor.reload_requests
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION emperor.count_reloads();

-- The insertions and the updates of one count would be two notifications.
DROP TRIGGER notify_insert ON emperor.reloads;
DROP TRIGGER notify_update ON emperor.reloads;

-- Asks for new instances of a site; NULL: of every site. The count tells it, so a reload that was
-- asked for while no emperor ran is found at its next reading.
CREATE OR REPLACE FUNCTION emperor.reload(site_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF reload.site_id IS NULL THEN
        PERFORM emperor.request_reloads(ARRAY[0]);
    ELSIF EXISTS (SELECT FROM emperor.sites s WHERE s.id = reload.site_id) THEN
        PERFORM emperor.request_reloads(ARRAY[reload.site_id]);
    ELSE
        RAISE no_data_found USING MESSAGE = format('there is no site with id %s', reload.site_id);
    END IF;
END
$$;

-- Watched tables. The trigger that finds the sites a statement concerns evaluates an expression of
-- whoever made the watch, so it has the rights of whoever runs the statement and no others. The one
-- that asks for their reloads has the rights of this schema, so that whoever writes to a watched table
-- needs none here. In between, the sites are in a setting of the transaction.

-- Its arguments: the setting, the search path that the expression's names are found by, the
-- expression, and the query for the rows that an update concerns.
CREATE FUNCTION emperor.find_sites_to_reload() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    concerned CONSTANT text := CASE TG_OP
        WHEN 'INSERT' THEN 'TABLE after_rows'
        WHEN 'UPDATE' THEN TG_ARGV[3]
        WHEN 'DELETE' THEN 'TABLE before_rows'
        ELSE format('TABLE %s', TG_RELID::regclass)
    END;
    found text;
BEGIN
    -- In force until this function ends.
    PERFORM set_config('search_path', TG_ARGV[1], true);
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.string_agg(DISTINCT (%s)::pg_catalog.text, '','') FROM (%s) row',
        TG_ARGV[2], concerned
    ) INTO found;
    PERFORM pg_catalog.set_config(TG_ARGV[0], coalesce(found, ''), true);
    RETURN NULL;
END
$$;

CREATE FUNCTION emperor.request_found_reloads() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM emperor.request_reloads(
        string_to_array(current_setting(TG_ARGV[0]), ',')::bigint[]
    );
    RETURN NULL;
END
$$;

-- The query for the rows that an update of some columns concerns, as they were and as they are. Which
-- row became which is told by the primary key; without one, every row of the statement counts.
CREATE FUNCTION emperor.updated_rows(tbl regclass, columns text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one_of_key text;
    same_row text;
BEGIN
    SELECT min(quote_ident(a.attname)), string_agg(format('b.%1$I = a.%1$I', a.attname), ' AND ')
    INTO one_of_key, same_row
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = tbl AND i.indisprimary;
    IF columns IS NULL OR same_row IS NULL THEN
        RETURN 'TABLE before_rows UNION ALL TABLE after_rows';
    END IF;
    -- Compared by their bytes, since not every type has an equality.
    RETURN (
        SELECT string_agg(
            format(
                'SELECT %1$s.* FROM %2$s LEFT JOIN %3$s ON %4$s WHERE %5$s.%6$s IS NULL OR %7$s',
                side.this, side.rows, side.other_rows, same_row, side.other, one_of_key, differs
            ),
            ' UNION ALL '
        )
        FROM (VALUES
            ('b', 'before_rows b', 'a', 'after_rows a'),
            ('a', 'after_rows a', 'b', 'before_rows b')
        ) AS side (this, rows, other, other_rows),
        (
            SELECT format(
                'ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record',
                string_agg(format('b.%I', c.name), ', '), string_agg(format('a.%I', c.name), ', ')
            )
            FROM unnest(columns) c (name)
        ) AS compared (differs)
    );
END
$$;

-- Refuses what would fail at the next write to the table.
CREATE FUNCTION emperor.check_watch(tbl regclass, site text, columns text[], path text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown text;
    rows CONSTANT text := format('TABLE %s LIMIT 0', tbl);
BEGIN
    SELECT c.name INTO unknown FROM unnest(columns) c (name)
    WHERE c.name IS NULL OR NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = tbl AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped
    );
    IF FOUND OR cardinality(columns) = 0 THEN
        RAISE undefined_column USING
            MESSAGE = format('table %s has no column %s', tbl, quote_nullable(unknown)),
            HINT = 'Name columns of the table; leave the argument out to watch all.';
    END IF;
    PERFORM set_config('search_path', path, true);
    BEGIN
        EXECUTE pg_catalog.format('SELECT %s FROM (%s) row', site, rows);
    EXCEPTION WHEN OTHERS THEN
        RAISE EXCEPTION USING
            ERRCODE = SQLSTATE,
            MESSAGE = pg_catalog.format('no site can be had from the rows of %s: %s', tbl, SQLERRM),
            HINT = 'The site is an SQL expression over the changed row, which is called row: '
                '''row.site_id'', ''3''. It is evaluated with your rights.';
    END;
END
$$;

CREATE FUNCTION emperor.watch(tbl regclass, site text, columns text[], path text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name CONSTANT text := 'reload_' || left(md5(format('%L %L', site, columns)), 12);
    setting CONSTANT text := 'emperor.' || name;
    -- Site 0 is every site, which no row may say. A comment at the end of the expression ends there.
    expression CONSTANT text := CASE
        WHEN site IS NULL THEN '0'
        ELSE format(E'nullif((%s\n)::pg_catalog.int8, 0)', site)
    END;
    event record;
BEGIN
    PERFORM emperor.check_watch(tbl, expression, columns, path);
    PERFORM emperor.drop_watches(tbl, format('emperor_%s_%%', name));
    FOR event IN VALUES
        ('insert', 'AFTER INSERT', 'REFERENCING NEW TABLE AS after_rows'),
        ('update', 'AFTER UPDATE',
            'REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows'),
        ('delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS before_rows'),
        ('truncate', 'BEFORE TRUNCATE', '')
    LOOP
        EXECUTE format(
            'CREATE TRIGGER emperor_%s_find_%s %s ON %s %s FOR EACH STATEMENT '
                'EXECUTE FUNCTION emperor.find_sites_to_reload(%L, %L, %L, %L)',
            name, event.column1, event.column2, tbl, event.column3,
            setting, path, expression, emperor.updated_rows(tbl, columns)
        );
    END LOOP;
    -- Its name is the last, so that it follows the others.
    EXECUTE format(
        'CREATE TRIGGER emperor_%s_request AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION emperor.request_found_reloads(%L)',
        name, tbl, setting
    );
END
$$;

CREATE FUNCTION emperor.drop_watches(tbl regclass, names text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT t.tgname FROM pg_trigger t
        WHERE t.tgrelid = tbl AND t.tgname LIKE names AND t.tgfoid IN (
            'emperor.find_sites_to_reload'::regproc, 'emperor.request_found_reloads'::regproc
        )
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', name, tbl);
    END LOOP;
END
$$;

-- From now on, whoever changes rows of a table asks for the reload of the sites they belong to. The
-- same watch again replaces the one before.
CREATE FUNCTION emperor.reload_on_change(tbl regclass, site text, columns text[] DEFAULT NULL)
RETURNS void
LANGUAGE sql AS $$
    SELECT emperor.watch(tbl, site, columns, pg_catalog.array_to_string(
        ARRAY(
            SELECT pg_catalog.quote_ident(s.name)
            FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) s (name)
        ), ', '
    ))
$$;

-- Ends every watch of a table.
CREATE FUNCTION emperor.unwatch(tbl regclass) RETURNS void
LANGUAGE sql AS $$ SELECT emperor.drop_watches(tbl, '%') $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA emperor FROM PUBLIC;
-- What these do, they do with the rights of whoever calls them. To make a watch, one needs a GRANT on
-- what calls them, and on what its triggers execute.
GRANT EXECUTE ON FUNCTION
    emperor.watch(regclass, text, text[], text),
    emperor.check_watch(regclass, text, text[], text),
    emperor.updated_rows(regclass, text[]),
    emperor.drop_watches(regclass, text)
TO PUBLIC;
