//! The status page as HTML.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::status_page::{Language, Page, render};

/// The page, from what gn_harvest.status_page_data() gives.
#[pg_extern(immutable, parallel_safe, strict)]
fn render_status_page(data: &str, in_french: bool) -> String {
    let page: Page = serde_json::from_str(data).unwrap_or_else(|error| {
        Failure::new("22023", "the data of the status page can not be read")
            .detail(error.to_string())
            .hint("Call gn_harvest.status_page().")
            .raise()
    });
    let language = match in_french {
        true => Language::French,
        false => Language::English,
    };
    render(&page, language)
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.render_status_page(text, boolean) IS 'The HTML of the status page, from what status_page_data() gives.';",
    name = "status_page_functions",
    requires = [render_status_page]
);
