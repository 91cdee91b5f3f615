//! The catalog API: what there is, at what price, and how much of it is left.

use std::process::ExitCode;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use composer_shop::model::Product;
use composer_shop::service::{self, Failed, log};
use composer_shop::store::Store;

const PORT: &str = "8001";

async fn products() -> Result<Json<Vec<Product>>, Failed> {
    let mut store = Store::connect().await?;
    let mut products: Vec<Product> = store.get("products").await?.unwrap_or_default();
    for product in &mut products {
        product.stock = store.get(&format!("stock/{}", product.sku)).await?.unwrap_or(0);
    }
    log(format_args!("listed {} products", products.len()));
    Ok(Json(products))
}

async fn product(Path(sku): Path<String>) -> Result<Json<Product>, Failed> {
    let Json(products) = products().await?;
    let found = products.into_iter().find(|product| product.sku == sku);
    found.map(Json).ok_or_else(|| Failed(StatusCode::NOT_FOUND, format!("there is no {sku}")))
}

fn main() -> ExitCode {
    let router = Router::new()
        .route("/products", get(products))
        .route("/products/{sku}", get(product))
        .route("/health", get(|| async { "ok\n" }));
    match std::env::args().nth(1).as_deref() {
        Some("--health") => service::run(service::probe(PORT)),
        _ => service::run(service::serve(PORT, router)),
    }
}
