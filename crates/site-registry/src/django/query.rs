//! The statement that reads Django's sites, made of the tables and columns that exist. No I/O.

use super::shape::{ALIAS, PLUS, SITE, Shape};

/// The text; `None`: there is no `django_site`, or it isn't Django's.
pub(super) fn text(schema: &str, shape: &Shape) -> Option<String> {
    if !shape.has_column(SITE, "id") || !shape.has_column(SITE, "domain") {
        return None;
    }
    let (plus, join) = plus(schema, shape);
    let (hosts, kinds) = aliases(schema, shape);
    Some(format!(
        "SELECT s.id::bigint AS id, s.domain::text AS name, {plus},
            e.slug AS own_slug, coalesce(e.enabled, true) AS own_enabled,
            coalesce(e.template, '') AS template, coalesce(e.extra_config, '') AS extra_config,
            coalesce(e.run_as, '') AS run_as, e.pool,
            coalesce((SELECT r.count FROM emperor.reloads r WHERE r.site_id = s.id), 0) AS reloads,
            {hosts} AS hosts, {kinds} AS kinds
        FROM {} s {join} LEFT JOIN emperor.django_sites e ON e.site_id = s.id
        ORDER BY s.id",
        table(schema, SITE)
    ))
}

/// The columns of django-multisite-plus, of which earlier versions have fewer.
fn plus(schema: &str, shape: &Shape) -> (String, String) {
    let is_there = shape.has_column(PLUS, "site_id");
    let column = |name: &str, kind: &str| {
        if is_there && shape.has_column(PLUS, name) {
            format!("p.{name}::{kind} AS {name}")
        } else {
            format!("NULL::{kind} AS {name}")
        }
    };
    let columns = [
        column("real_domain", "text"),
        column("slug", "text"),
        column("is_enabled", "boolean"),
        column("extra_uwsgi_ini", "text"),
    ];
    let join = if is_there {
        format!("LEFT JOIN {} p ON p.site_id = s.id", table(schema, PLUS))
    } else {
        String::new()
    };
    (columns.join(", "), join)
}

/// Hosts and kinds of django-multisite's aliases. The canonical one is the site's domain once more.
fn aliases(schema: &str, shape: &Shape) -> (String, String) {
    if !shape.has_column(ALIAS, "site_id") || !shape.has_column(ALIAS, "domain") {
        return ("'{}'::text[]".to_owned(), "'{}'::text[]".to_owned());
    }
    let canonical = if shape.has_column(ALIAS, "is_canonical") {
        "AND a.is_canonical IS NOT TRUE"
    } else {
        ""
    };
    let kind = if shape.has_column(ALIAS, "redirect_to_canonical") {
        "CASE WHEN a.redirect_to_canonical THEN 'redirect' ELSE 'alias' END"
    } else {
        "'alias'"
    };
    let table = table(schema, ALIAS);
    let list = |value: &str| {
        format!(
            "ARRAY(SELECT {value}::text FROM {table} a WHERE a.site_id = s.id {canonical} \
             ORDER BY a.domain, a.id)"
        )
    };
    (list("a.domain"), list(&format!("({kind})")))
}

/// A table's name with its schema, quoted.
pub(super) fn table(schema: &str, name: &str) -> String {
    format!("\"{}\".{name}", schema.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_exists_is_read() {
        let site: (&str, &[&str]) = (SITE, &["id", "domain", "name"]);
        let alone = text("public", &Shape::of(&[site])).unwrap();
        assert!(!alone.contains(PLUS) && !alone.contains(ALIAS), "{alone}");
        assert!(alone.contains("NULL::text AS real_domain"), "{alone}");

        let early: (&str, &[&str]) = (PLUS, &["site_id", "real_domain", "slug"]);
        let with_early = text("public", &Shape::of(&[site, early])).unwrap();
        assert!(with_early.contains("p.real_domain::text"), "{with_early}");
        assert!(
            with_early.contains("NULL::boolean AS is_enabled"),
            "{with_early}"
        );
    }

    #[test]
    fn without_django_site_there_is_nothing_to_read() {
        assert_eq!(text("public", &Shape::default()), None);
        assert_eq!(text("public", &Shape::of(&[(SITE, &["id"])])), None);
    }

    #[test]
    fn a_schema_is_a_name_and_nothing_else() {
        assert_eq!(table("a\"b", SITE), "\"a\"\"b\".django_site");
    }
}
