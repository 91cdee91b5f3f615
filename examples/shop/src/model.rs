//! What the shop talks about, as it travels between its programs.

use serde::{Deserialize, Serialize};

/// Something to buy, from `products.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its key.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// Price of one in hundredths of the currency.
    pub cents: u64,
    /// How many there are.
    #[serde(default)]
    pub stock: i64,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// Of which product.
    pub sku: String,
    /// How many.
    pub quantity: u32,
}

/// An order in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub id: i64,
    /// The product, as it was when it was ordered.
    pub product: Product,
    /// How many.
    pub quantity: u32,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The order's number.
    pub order: i64,
    /// Whether there were enough.
    pub accepted: bool,
    /// The sum in hundredths of the currency.
    pub cents: u64,
    /// How many are left.
    pub left: i64,
    /// The worker's host name.
    pub worker: String,
}
