//! The templates that are part of this program: what `vassal-templates/` held when it was built.
//! Sought last, so a file of the same name in `template_dirs` takes their place.

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// Name and text of each.
        pub(crate) const SHIPPED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../../vassal-templates/", $name, ".toml"))),)+
        ];
    };
}

shipped!(
    "command", "demo", "django", "granian", "gunicorn", "node", "uvicorn", "uwsgi"
);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vassal_core::{Catalog, CatalogInput, Source, TemplateSource};

    use super::*;

    #[test]
    fn every_template_of_the_folder_is_shipped() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vassal-templates");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let shipped: Vec<_> = SHIPPED
            .iter()
            .map(|(name, _)| format!("{name}.toml"))
            .collect();
        assert_eq!(files, shipped);
    }

    #[test]
    fn every_shipped_template_can_be_used() {
        let templates = SHIPPED.iter().map(|(name, text)| TemplateSource {
            name: name.parse().unwrap(),
            source: Source::new(*name, *text),
        });
        let input = CatalogInput {
            templates: templates.collect(),
            ..CatalogInput::default()
        };
        let catalog = Catalog::new(input).unwrap();
        for template in catalog.templates() {
            assert_eq!(template.problem, None, "{}", template.name);
        }
    }
}
