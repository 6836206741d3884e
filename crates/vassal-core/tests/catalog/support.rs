//! A small catalog, and rows for it.

use std::sync::Arc;

use site_model::{RejectionReason, Site, SiteId};
use vassal_core::{
    Catalog, CatalogInput, InstanceContext, Launch, Source, TemplateSource, VassalSpec,
};

/// A template with something of everything.
pub(crate) const APP: &str = r#"
description = "An application"
command = ["{{ vars.python }}", "-m", "app", "--workers", "{{ vars.workers }}", "{{ vars.args }}"]
working_dir = "/srv/{{ site.slug }}"
[vars]
python = "python3"
workers = 1
ratio = 0.5
debug = false
args = { default = [], help = "further arguments" }
[env]
MODE = "{{ vars.debug }}"
[files]
"app.conf" = "name={{ site.slug }}\n"
[stop]
grace = "10s"
"#;

pub(crate) fn template(name: &str, text: &str) -> TemplateSource {
    TemplateSource {
        name: name.parse().unwrap(),
        source: Source::new(format!("{name}.toml"), text),
    }
}

/// A catalog of this one template, called `app`, which is also the default.
pub(crate) fn input(text: &str) -> CatalogInput {
    CatalogInput {
        templates: vec![template("app", text)],
        default_template: Some("app".parse().unwrap()),
        ..CatalogInput::default()
    }
}

pub(crate) fn catalog(input: CatalogInput) -> Arc<Catalog> {
    match Catalog::new(input) {
        Ok(catalog) => Arc::new(catalog),
        Err(found) => panic!("{found}"),
    }
}

pub(crate) fn site(extra_config: &str) -> Site {
    Site {
        id: SiteId::new(12).unwrap(),
        slug: "blog".parse().unwrap(),
        domain: Some("www.blog.example".parse().unwrap()),
        aliases: Box::default(),
        enabled: true,
        template: None,
        extra_config: extra_config.into(),
        run_as: None,
        extra_uwsgi_ini: Box::default(),
        pool: None,
        reloads: 0,
    }
}

pub(crate) fn resolve(template: &str, extra_config: &str) -> Result<VassalSpec, RejectionReason> {
    catalog(input(template)).resolve(&Arc::new(site(extra_config)))
}

pub(crate) fn instance() -> InstanceContext {
    InstanceContext {
        number: 2,
        dir: "/run/i/12.7/private".into(),
        socket_path: "/run/i/12.7/s".into(),
    }
}

pub(crate) fn launch(template: &str, extra_config: &str) -> Launch {
    let spec = resolve(template, extra_config);
    let spec = spec.unwrap_or_else(|reason| panic!("{reason}"));
    spec.render(&instance()).unwrap()
}

/// Why a row is refused, as its operator reads it.
pub(crate) fn rejection(template: &str, extra_config: &str) -> String {
    match resolve(template, extra_config) {
        Ok(_) => panic!("taken: {extra_config:?}"),
        Err(reason) => reason.to_string(),
    }
}
