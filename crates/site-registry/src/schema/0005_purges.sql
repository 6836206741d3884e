-- Purges: pages that caches have to drop, asked for by name or by the rows of a watched table.
--
-- A purge is a row that its transaction inserts: it takes effect at commit, waits for nobody, and is
-- kept until every reader has seen it. The notification only wakes; it is one for each transaction.

-- What NOTIFY can't take any more fails the COMMIT, where nothing can catch it. So nothing is notified
-- into a queue that fills up; what stands in a table is found at the reader's next look.
CREATE FUNCTION emperor.may_notify() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_notification_queue_usage() < 0.5
$$;

CREATE FUNCTION emperor.tell(channel text, payload text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF emperor.may_notify() THEN
        PERFORM pg_notify(channel, payload);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION emperor.notify_ids(ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids_per_notification CONSTANT integer := 390;
    most_ids CONSTANT integer := 3900;
BEGIN
    IF coalesce(cardinality(ids), 0) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(ids) > most_ids THEN
        PERFORM emperor.tell('emperor', '*');
        RETURN;
    END IF;
    FOR place IN 1 .. cardinality(ids) BY ids_per_notification LOOP
        PERFORM emperor.tell(
            'emperor',
            array_to_string(ids[place : place + ids_per_notification - 1], ',')
        );
    END LOOP;
END
$$;

-- Its transaction is the whole order there is: ids are given before commit, and commits overtake each
-- other. A reader remembers the snapshot of its last reading, and reads what was not visible in it.
CREATE TABLE emperor.purges (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- NULL: every site.
    site_id bigint,
    kind text NOT NULL CHECK (kind IN ('path', 'prefix', 'tag', 'site')),
    names text[] NOT NULL DEFAULT '{}' CHECK ((kind = 'site') = (names = '{}')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX purges_by_transaction ON emperor.purges (transaction);

-- Who reads purges, and how far: the caches of each node, and each target that stands in front of them.
CREATE TABLE emperor.purge_readers (
    node text NOT NULL,
    -- 'cache', or 'target NAME'.
    reader text NOT NULL,
    -- Every purge that is visible in this snapshot has been carried out.
    through pg_snapshot NOT NULL,
    -- Which server's transactions the snapshot is about.
    server text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node, reader)
);

-- What a target did not take, and why.
CREATE TABLE emperor.purge_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node text NOT NULL,
    target text NOT NULL,
    site_id bigint,
    kind text NOT NULL,
    names text[] NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row: up to where purges have been deleted. Who read less than this has missed some.
CREATE TABLE emperor.purges_forgotten (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    transaction xid8 NOT NULL DEFAULT '0',
    id bigint NOT NULL DEFAULT 0
);
INSERT INTO emperor.purges_forgotten DEFAULT VALUES;

-- Transaction ids mean something on one server and one line of its history.
CREATE FUNCTION emperor.server_identity() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    FROM pg_control_system()
$$;

-- A reader that was not seen for so long is gone: nobody waits for it. It stops serving from its cache
-- sooner than that, because it looks every five seconds and waits five for an answer.
CREATE FUNCTION emperor.purge_lease() RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT interval '15 seconds' $$;

-- Wakes the readers at commit, once for a transaction. The setting is taken back with a savepoint, and
-- so is the notification.
CREATE FUNCTION emperor.wake_purge_readers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this CONSTANT text := pg_current_xact_id()::text;
BEGIN
    IF current_setting('emperor.purge_told', true) IS DISTINCT FROM this THEN
        PERFORM emperor.tell('emperor_purges', '');
        PERFORM set_config('emperor.purge_told', this, true);
    END IF;
END
$$;

-- Many names are dearer than one site: beyond this many in one call or statement, the site goes whole.
CREATE FUNCTION emperor.most_purge_names() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT 1000 $$;

-- A name as caches compare it; NULL where it can't be one. A path stands for all its queries.
CREATE FUNCTION emperor.purge_name(kind text, name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN octet_length(name) > 4096 OR name ~ '[[:cntrl:]]' THEN NULL
        WHEN kind = 'tag' THEN CASE WHEN name ~ '^[^[:space:],]+$' THEN name END
        WHEN name ~ '^/' THEN substring(name FROM '^[^?#]*')
    END
$$;

CREATE FUNCTION emperor.has_site(site bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM emperor.sites s WHERE s.id = site)
$$;

CREATE FUNCTION emperor.record_purge(site bigint, kind text, names text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event bigint;
    wrong text;
    usable text[];
BEGIN
    IF site IS NOT NULL AND NOT emperor.has_site(site) THEN
        RAISE no_data_found USING MESSAGE = format('there is no site with id %s', site);
    END IF;
    IF kind <> 'site' AND coalesce(cardinality(names), 0) = 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('no %s is named', kind),
            HINT = 'emperor.purge_site(site_id) purges all of a site.';
    END IF;
    SELECT quote_nullable(n.name) INTO wrong FROM unnest(names) n (name)
    WHERE emperor.purge_name(kind, n.name) IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('%s is no %s', left(wrong, 200), kind),
            HINT = CASE kind
                WHEN 'tag' THEN 'A tag has no space, no comma and at most 4096 bytes.'
                ELSE 'It begins with / and has at most 4096 bytes; scheme and host are left out.'
            END;
    END IF;
    usable := ARRAY(
        SELECT DISTINCT emperor.purge_name(kind, n.name) FROM unnest(names) n (name) ORDER BY 1
    );
    IF cardinality(usable) > emperor.most_purge_names() THEN
        kind := 'site';
        usable := '{}';
    END IF;
    INSERT INTO emperor.purges (site_id, kind, names) VALUES (site, kind, usable)
    RETURNING id INTO event;
    PERFORM emperor.wake_purge_readers();
    RETURN event;
END
$$;

-- Each returns the purge's id, for emperor.purge_wait(). NULL instead of a site: every site.
CREATE FUNCTION emperor.purge(site_id bigint, VARIADIC paths text[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT emperor.record_purge(site_id, 'path', paths)
$$;
CREATE FUNCTION emperor.purge_prefix(site_id bigint, prefix text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT emperor.record_purge(site_id, 'prefix', ARRAY[prefix])
$$;
CREATE FUNCTION emperor.purge_tags(site_id bigint, VARIADIC tags text[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT emperor.record_purge(site_id, 'tag', tags)
$$;
CREATE FUNCTION emperor.purge_site(site_id bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT emperor.record_purge(site_id, 'site', '{}')
$$;

-- Waits until no live cache holds what a committed purge names; NULL: what any purge names that was
-- committed before the call. False: not within the time. It looks after 1 ms, 2 ms … 50 ms.
CREATE FUNCTION emperor.purge_wait(event bigint, timeout interval DEFAULT '10 seconds')
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until CONSTANT timestamptz := clock_timestamp() + timeout;
    called CONSTANT pg_snapshot := pg_current_snapshot();
    pause double precision := 0.001;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE invalid_transaction_state USING
            MESSAGE = 'emperor.purge_wait() can''t see what is acknowledged while it waits',
            HINT = 'Call it in a transaction of the isolation level READ COMMITTED.';
    END IF;
    IF EXISTS (
        SELECT FROM emperor.purges p
        WHERE p.id = event AND p.transaction = pg_current_xact_id_if_assigned()
    ) THEN
        RAISE invalid_transaction_state USING
            MESSAGE = 'this purge takes effect at the commit of this very transaction',
            HINT = 'Commit first, and wait then.';
    END IF;
    IF event > (SELECT coalesce(pg_sequence_last_value('emperor.purges_id_seq'), 0)) THEN
        RAISE no_data_found USING MESSAGE = format('there is no purge with id %s', event);
    END IF;
    LOOP
        -- A purge that is not there is not committed yet, or everybody has seen it long ago.
        IF (event IS NULL
            OR EXISTS (SELECT FROM emperor.purges p WHERE p.id = event)
            OR event <= (SELECT f.id FROM emperor.purges_forgotten f)
        ) AND NOT EXISTS (
            SELECT FROM emperor.purge_readers r
            JOIN emperor.purges p ON p.transaction >= pg_snapshot_xmin(r.through)
                AND NOT pg_visible_in_snapshot(p.transaction, r.through)
            WHERE r.reader = 'cache' AND r.seen_at > clock_timestamp() - emperor.purge_lease()
                AND CASE WHEN event IS NULL THEN pg_visible_in_snapshot(p.transaction, called)
                    ELSE p.id = event END
        ) THEN
            RETURN true;
        END IF;
        IF clock_timestamp() >= until THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(least(
            pause, greatest(extract(epoch FROM until - clock_timestamp()), 0)
        ));
        pause := least(pause * 2, 0.05);
    END LOOP;
END
$$;

-- Deletes purges that every reader has seen and that are older than 10 minutes; those of readers that
-- are gone after a day, or as soon as there are a million. Called by every emperor once a minute; at
-- most 5,000 rows in one call. Returns how many.
CREATE FUNCTION emperor.forget_purges(
    keep interval DEFAULT '10 minutes', keep_unseen interval DEFAULT '1 day',
    most bigint DEFAULT 1000000
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- What a live reader, and any reader, has not read may lie here and above.
    live xid8;
    any_reader xid8;
    deleted bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('emperor.forget_purges')) THEN
        RETURN 0;
    END IF;
    DELETE FROM emperor.purge_readers r WHERE r.seen_at < clock_timestamp() - interval '7 days';
    DELETE FROM emperor.purge_dead_letters d
    WHERE d.id <= (SELECT max(l.id) - 10000 FROM emperor.purge_dead_letters l);
    SELECT pg_snapshot_xmin(r.through) INTO live FROM emperor.purge_readers r
    WHERE r.server = emperor.server_identity()
        AND r.seen_at > clock_timestamp() - 4 * emperor.purge_lease() ORDER BY 1 LIMIT 1;
    SELECT pg_snapshot_xmin(r.through) INTO any_reader FROM emperor.purge_readers r
    WHERE r.server = emperor.server_identity() ORDER BY 1 LIMIT 1;
    live := coalesce(live, pg_snapshot_xmin(pg_current_snapshot()));
    any_reader := least(coalesce(any_reader, live), live);
    WITH gone AS (
        DELETE FROM emperor.purges p WHERE p.id IN (
            SELECT o.id FROM emperor.purges o
            WHERE o.transaction < live AND (
                (o.transaction < any_reader AND o.created_at < clock_timestamp() - keep)
                OR o.created_at < clock_timestamp() - keep_unseen
                OR o.id <= (SELECT max(n.id) - most FROM emperor.purges n)
            )
            ORDER BY o.id LIMIT 5000
        )
        RETURNING p.id, p.transaction
    ), latest AS (
        SELECT count(*) OVER () AS deleted, g.transaction, max(g.id) OVER () AS id
        FROM gone g ORDER BY g.transaction DESC LIMIT 1
    ), noted AS (
        UPDATE emperor.purges_forgotten f
        SET transaction = greatest(f.transaction, l.transaction), id = greatest(f.id, l.id)
        FROM latest l
    )
    SELECT l.deleted INTO deleted FROM latest l;
    RETURN coalesce(deleted, 0);
END
$$;

-- Who may empty a table but not read it can't tell which sites its rows belong to.
CREATE OR REPLACE FUNCTION emperor.find_sites_to_reload() RETURNS trigger
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
    IF TG_OP = 'TRUNCATE' AND NOT has_table_privilege(TG_RELID, 'SELECT') THEN
        PERFORM set_config(TG_ARGV[0], '0', true);
        RETURN NULL;
    END IF;
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

-- Watched tables. As for reloads: what finds the pages evaluates expressions of whoever made the
-- watch, with the rights of whoever runs the statement; what records the purge has the rights of this
-- schema and evaluates nothing.

-- One name too many purges the site, so no more are looked at. A comment at the end ends there.
CREATE FUNCTION emperor.names_expression(query text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(E'ARRAY((%s\n) LIMIT 1001)::pg_catalog.text[]', query)
$$;

-- The site that a row concerns. 0 is every site, for rows that say NULL, and NULL none, for those that
-- say 0. A comment at the end of the expression ends there.
CREATE FUNCTION emperor.site_expression(site text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN site IS NULL THEN '0'
        ELSE format(
            E'(SELECT CASE WHEN s.id IS NULL THEN 0 ELSE nullif(s.id, 0) END '
                'FROM (SELECT (%s\n)::pg_catalog.int8) s (id))',
            site
        )
    END
$$;

-- What is evaluated for each row: [site, [paths], [tags]], and [site, null, null] where the site has to
-- go whole.
CREATE FUNCTION emperor.page_expression(site text, paths text, tags text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(
        'pg_catalog.jsonb_build_array(%s, %s, %s)',
        emperor.site_expression(site),
        CASE WHEN paths IS NULL THEN 'NULL' ELSE emperor.names_expression(paths) END,
        CASE WHEN tags IS NULL THEN 'NULL' ELSE emperor.names_expression(tags) END
    )
$$;

-- Compiling these statements takes longer than running them, and their costs are estimated far too
-- high: hence jit.

-- Its arguments: the setting, the search path, the expression for every name, the one for sites alone,
-- and the query for the rows that an update concerns.
CREATE FUNCTION emperor.find_pages_to_purge() RETURNS trigger
LANGUAGE plpgsql SET jit = off SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- More rows are not asked for their pages: their sites go whole.
    most_rows CONSTANT integer := CASE TG_OP WHEN 'UPDATE' THEN 20000 ELSE 10000 END;
    concerned CONSTANT text := CASE TG_OP
        WHEN 'INSERT' THEN 'TABLE after_rows'
        WHEN 'UPDATE' THEN TG_ARGV[4]
        WHEN 'DELETE' THEN 'TABLE before_rows'
        ELSE format('TABLE %s', TG_RELID::regclass)
    END;
    expression text := TG_ARGV[2];
    many boolean;
    found text;
BEGIN
    IF TG_OP = 'TRUNCATE' AND NOT has_table_privilege(TG_RELID, 'SELECT') THEN
        -- Who may empty a table but not read it can't tell which sites its rows belong to.
        PERFORM set_config(TG_ARGV[0], '[[0, null, null]]', true);
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT count(*) > %s FROM (SELECT FROM (%s) r LIMIT %1$s + 1) n',
        most_rows, concerned) INTO many;
    IF many THEN
        expression := TG_ARGV[3];
    END IF;
    -- In force until this function ends.
    PERFORM set_config('search_path', TG_ARGV[1], true);
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.jsonb_agg(DISTINCT q.page) FROM (SELECT %s FROM (%s) row) q (page)',
        expression, concerned
    ) INTO found;
    PERFORM pg_catalog.set_config(TG_ARGV[0], coalesce(found, ''), true);
    RETURN NULL;
END
$$;

CREATE FUNCTION emperor.record_found_purges() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET jit = off
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rows CONSTANT jsonb := nullif(current_setting(TG_ARGV[0], true), '')::jsonb;
BEGIN
    IF rows IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM set_config(TG_ARGV[0], '', true);
    WITH pages AS (
        SELECT (f.page ->> 0)::bigint AS site, f.page -> 1 AS paths, f.page -> 2 AS tags
        FROM jsonb_array_elements(rows) f (page) WHERE f.page ->> 0 IS NOT NULL
    ), names AS (
        SELECT DISTINCT p.site, n.kind, emperor.purge_name(n.kind, n.name) AS name
        FROM pages p, LATERAL (
            SELECT 'path', v FROM jsonb_array_elements_text(
                CASE jsonb_typeof(p.paths) WHEN 'array' THEN p.paths ELSE '[]' END) v
            UNION ALL
            SELECT 'tag', v FROM jsonb_array_elements_text(
                CASE jsonb_typeof(p.tags) WHEN 'array' THEN p.tags ELSE '[]' END) v
            UNION ALL
            -- No name at all: the site.
            SELECT 'site', '-' WHERE jsonb_typeof(p.paths) = 'null' AND jsonb_typeof(p.tags) = 'null'
        ) n (kind, name)
        WHERE n.name <> ''
    ), sites AS (
        -- A name that is none may stand for any page.
        SELECT n.site, bool_or(n.name IS NULL) OR count(*) > emperor.most_purge_names() AS whole
        FROM names n
        WHERE n.site = 0 OR emperor.has_site(n.site)
        GROUP BY n.site
    ), house AS (
        SELECT count(*) > emperor.most_purge_names() AS whole FROM sites
    )
    INSERT INTO emperor.purges (site_id, kind, names)
    SELECT NULL::bigint, 'site', '{}'::text[] FROM house h WHERE h.whole
    UNION ALL
    SELECT nullif(s.site, 0), 'site', '{}' FROM sites s, house h WHERE s.whole AND NOT h.whole
    UNION ALL
    SELECT nullif(s.site, 0), n.kind, array_agg(n.name ORDER BY n.name)
    FROM sites s JOIN names n ON n.site = s.site, house h
    WHERE NOT s.whole AND NOT h.whole GROUP BY s.site, n.kind;
    IF FOUND THEN
        PERFORM emperor.wake_purge_readers();
    END IF;
    RETURN NULL;
END
$$;

-- Refuses what no watch can be made on, by name.
CREATE FUNCTION emperor.check_watched(tbl regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
BEGIN
    SELECT c.relkind INTO kind FROM pg_class c WHERE c.oid = tbl;
    IF kind IN ('r', 'p') THEN
        RETURN;
    END IF;
    RAISE wrong_object_type USING
        MESSAGE = format('%s can''t be watched: it is %s', tbl, CASE kind
            WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view'
            WHEN 'f' THEN 'a foreign table' ELSE 'no table' END),
        HINT = CASE kind
            WHEN 'f' THEN 'PostgreSQL can''t tell which rows of a foreign table changed. Watch it '
                'where it is kept, or call emperor.purge() where it is changed.'
            ELSE 'Watch the tables it is made from.' END;
END
$$;

-- A dry run over rows that are there: what would fail at the next write fails here.
CREATE FUNCTION emperor.check_purge_watch(
    tbl regclass, site text, paths text, tags text, columns text[], path text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    wrong text;
BEGIN
    PERFORM emperor.check_watched(tbl);
    IF paths IS NULL AND tags IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'neither paths nor tags are given: nothing would be purged',
            HINT = 'To purge all of a site, name a tag that each of its pages has.';
    END IF;
    -- The same as for reloads, and the columns.
    PERFORM emperor.check_watch(tbl, emperor.site_expression(site), columns, path);
    FOR part IN
        SELECT v.what, emperor.names_expression(v.query) AS expression
        FROM (VALUES ('paths', paths), ('tags', tags)) AS v (what, query)
        WHERE v.query IS NOT NULL
    LOOP
        PERFORM set_config('search_path', path, true);
        BEGIN
            EXECUTE pg_catalog.format(
                'SELECT pg_catalog.min(n) FROM (SELECT %s AS names FROM (TABLE %s LIMIT 10) row) r, '
                    'pg_catalog.unnest(r.names) n WHERE emperor.purge_name(%L, n) IS NULL AND n <> %L',
                part.expression, tbl, pg_catalog.rtrim(part.what, 's'), ''
            ) INTO wrong;
        EXCEPTION WHEN OTHERS THEN
            RAISE EXCEPTION USING
                ERRCODE = SQLSTATE,
                MESSAGE = pg_catalog.format('no %s can be had from the rows of %s: %s',
                    part.what, tbl, SQLERRM),
                HINT = pg_catalog.format('The %s are an SQL query that returns one text column and '
                    'may use the changed row, which is called row: %s. It is evaluated with the '
                    'rights of whoever writes to the table.', part.what, CASE part.what
                    WHEN 'paths' THEN '''VALUES (''''/posts/'''' || row.slug || ''''/'''')'''
                    ELSE '''VALUES (''''post-'''' || row.id)''' END);
        END;
        IF wrong IS NOT NULL THEN
            RAISE invalid_parameter_value USING
                MESSAGE = pg_catalog.format('the %s of %s are none: a row that is there gives %L',
                    part.what, tbl, pg_catalog."left"(wrong, 200)),
                HINT = 'A path begins with /; a tag has no space and no comma.';
        END IF;
    END LOOP;
END
$$;

-- Makes the triggers of a watch. What finds has arguments of its own for each kind of watch.
CREATE FUNCTION emperor.make_watch(
    tbl regclass, name text, find regproc, arguments text[], request regproc, definition jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event record;
    listed CONSTANT text := (
        SELECT string_agg(quote_literal(a.argument), ', ' ORDER BY a.place)
        FROM unnest(arguments) WITH ORDINALITY a (argument, place)
    );
BEGIN
    PERFORM emperor.drop_watches(tbl, format('emperor\_%s\_%%', name));
    FOR event IN VALUES
        ('insert', 'AFTER INSERT', 'REFERENCING NEW TABLE AS after_rows'),
        ('update', 'AFTER UPDATE',
            'REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows'),
        ('delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS before_rows'),
        ('truncate', 'BEFORE TRUNCATE', '')
    LOOP
        EXECUTE format(
            'CREATE TRIGGER emperor_%s_find_%s %s ON %s %s FOR EACH STATEMENT '
                'EXECUTE FUNCTION %s(%s)',
            name, event.column1, event.column2, tbl, event.column3, find, listed
        );
    END LOOP;
    -- Its name is the last, so that it follows the others.
    EXECUTE format(
        'CREATE TRIGGER emperor_%s_request AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION %s(%L)',
        name, tbl, request, arguments[1]
    );
    -- What it was made from, for people and for emperor.watches().
    EXECUTE format('COMMENT ON TRIGGER emperor_%s_request ON %s IS %L', name, tbl, definition);
END
$$;

CREATE OR REPLACE FUNCTION emperor.watch(tbl regclass, site text, columns text[], path text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name CONSTANT text := 'reload_' || left(md5(format('%L %L', site, columns)), 12);
    expression CONSTANT text := emperor.site_expression(site);
BEGIN
    PERFORM emperor.check_watched(tbl);
    PERFORM emperor.check_watch(tbl, expression, columns, path);
    PERFORM emperor.make_watch(
        tbl, name, 'emperor.find_sites_to_reload',
        ARRAY['emperor.' || name, path, expression, emperor.updated_rows(tbl, columns)],
        'emperor.request_found_reloads',
        jsonb_build_object('kind', 'reload', 'site', site, 'columns', columns, 'search_path', path)
    );
END
$$;

CREATE FUNCTION emperor.watch_pages(
    tbl regclass, site text, paths text, tags text, columns text[], path text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name CONSTANT text :=
        'purge_' || left(md5(format('%L %L %L %L', site, paths, tags, columns)), 12);
BEGIN
    PERFORM emperor.check_purge_watch(tbl, site, paths, tags, columns, path);
    PERFORM emperor.make_watch(
        tbl, name, 'emperor.find_pages_to_purge',
        ARRAY[
            'emperor.' || name, path,
            emperor.page_expression(site, paths, tags),
            emperor.page_expression(site, NULL, NULL),
            emperor.updated_rows(tbl, columns)
        ],
        'emperor.record_found_purges',
        jsonb_build_object('kind', 'purge', 'site', site, 'paths', paths, 'tags', tags,
            'columns', columns, 'search_path', path)
    );
END
$$;

CREATE OR REPLACE FUNCTION emperor.drop_watches(tbl regclass, names text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT t.tgname FROM pg_trigger t
        WHERE t.tgrelid = tbl AND t.tgname LIKE names AND t.tgfoid IN (
            'emperor.find_sites_to_reload'::regproc, 'emperor.request_found_reloads'::regproc,
            'emperor.find_pages_to_purge'::regproc, 'emperor.record_found_purges'::regproc
        )
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', name, tbl);
    END LOOP;
END
$$;

-- From now on, whoever changes rows of a table purges the pages that the rows, as they were and as
-- they are, belong to. The same watch again replaces the one before.
CREATE FUNCTION emperor.purge_on_change(
    tbl regclass, site text, paths text, tags text DEFAULT NULL, columns text[] DEFAULT NULL
) RETURNS void
LANGUAGE sql AS $$
    SELECT emperor.watch_pages(tbl, site, paths, tags, columns, pg_catalog.array_to_string(
        ARRAY(
            SELECT pg_catalog.quote_ident(s.name)
            FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) s (name)
        ), ', '
    ))
$$;

-- Every watch of the database. One that an earlier version made tells its table and kind alone.
CREATE FUNCTION emperor.watches() RETURNS TABLE (
    tbl regclass, kind text, site text, paths text, tags text, columns text[], search_path text,
    enabled boolean
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tgrelid::regclass,
        CASE t.tgfoid WHEN 'emperor.record_found_purges'::regproc THEN 'purge' ELSE 'reload' END,
        d.made ->> 'site', d.made ->> 'paths', d.made ->> 'tags',
        CASE jsonb_typeof(d.made -> 'columns') WHEN 'array'
            THEN ARRAY(SELECT jsonb_array_elements_text(d.made -> 'columns')) END,
        d.made ->> 'search_path', t.tgenabled IN ('O', 'A')
    FROM pg_trigger t, LATERAL (
        SELECT CASE WHEN obj_description(t.oid, 'pg_trigger') LIKE '{%'
            THEN obj_description(t.oid, 'pg_trigger')::jsonb END
    ) d (made)
    WHERE t.tgfoid IN (
        'emperor.record_found_purges'::regproc, 'emperor.request_found_reloads'::regproc
    )
    ORDER BY 1, 2, t.tgname
$$;

-- What a change of a row would purge and reload. The row: columns with their values; rows of the table
-- that have them are taken (ten at most), else a row made of them alone. The expressions are their
-- author's, so nobody else evaluates them.
CREATE FUNCTION emperor.explain_watches(tbl regclass, "row" jsonb) RETURNS TABLE (
    kind text, site_id bigint, paths text[], tags text[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner CONSTANT name := (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = tbl);
    rows text;
    there boolean;
    watch record;
BEGIN
    IF owner <> current_user THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the watches of %s are explained to its owner, %s', tbl, owner),
            HINT = 'Their expressions run with the rights of whoever asks. Log in as the owner, and '
                'SELECT * FROM emperor.explain_watches(…).';
    END IF;
    rows := format('SELECT t.* FROM %s t WHERE pg_catalog.to_jsonb(t) OPERATOR(pg_catalog.@>) %L '
        'LIMIT 10', tbl, "row");
    EXECUTE format('SELECT EXISTS (%s)', rows) INTO there;
    IF NOT there THEN
        rows := format('SELECT (pg_catalog.jsonb_populate_record(NULL::%s, %L)).*', tbl, "row");
    END IF;
    FOR watch IN SELECT * FROM emperor.watches() w WHERE w.tbl = explain_watches.tbl AND w.enabled LOOP
        PERFORM set_config('search_path', watch.search_path, true);
        RETURN QUERY EXECUTE pg_catalog.format(
            'SELECT DISTINCT %L::pg_catalog.text, nullif((q.page ->> 0)::pg_catalog.int8, 0), '
                'ARRAY(SELECT pg_catalog.jsonb_array_elements_text(CASE '
                    'pg_catalog.jsonb_typeof(q.page -> 1) WHEN ''array'' THEN q.page -> 1 '
                    'ELSE ''[]'' END)), '
                'ARRAY(SELECT pg_catalog.jsonb_array_elements_text(CASE '
                    'pg_catalog.jsonb_typeof(q.page -> 2) WHEN ''array'' THEN q.page -> 2 '
                    'ELSE ''[]'' END)) '
                'FROM (SELECT %s FROM (%s) row) q (page) WHERE q.page ->> 0 IS NOT NULL',
            watch.kind, emperor.page_expression(watch.site, watch.paths, watch.tags), rows
        );
    END LOOP;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA emperor FROM PUBLIC;
-- What these do, they do with the rights of whoever calls them. To make a watch, one needs a GRANT on
-- what calls them, and on what its triggers execute.
GRANT EXECUTE ON FUNCTION
    emperor.watch(regclass, text, text[], text),
    emperor.watch_pages(regclass, text, text, text, text[], text),
    emperor.make_watch(regclass, text, regproc, text[], regproc, jsonb),
    emperor.check_watch(regclass, text, text[], text),
    emperor.check_watched(regclass),
    emperor.check_purge_watch(regclass, text, text, text, text[], text),
    emperor.purge_name(text, text),
    emperor.names_expression(text),
    emperor.site_expression(text),
    emperor.page_expression(text, text, text),
    emperor.updated_rows(regclass, text[]),
    emperor.drop_watches(regclass, text)
TO PUBLIC;
