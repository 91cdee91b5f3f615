//! The one-shot: puts the products into the store, those that are not there yet.

use std::process::ExitCode;

use composer_shop::Result;
use composer_shop::model::Product;
use composer_shop::service::{self, log, setting};
use composer_shop::store::Store;

async fn prepare() -> Result<()> {
    let file = setting("PRODUCTS", "/etc/shop/products.json");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let products: Vec<Product> = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let mut store = Store::connect().await?;
    let mut added = 0;
    for product in &products {
        let key = format!("stock/{}", product.sku);
        // What has been sold stays sold.
        if store.get::<i64>(&key).await?.is_none() {
            store.set(&key, &product.stock).await?;
            added += 1;
        }
    }
    store.set("products", &products).await?;
    log(format_args!("{} products, {added} of them new", products.len()));
    Ok(())
}

fn main() -> ExitCode {
    service::run(prepare())
}
