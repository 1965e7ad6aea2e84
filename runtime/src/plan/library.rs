//! What libraries may compute, with its sizes.

use super::Values;
use super::convolution::{self, PlannedConvolution};
use super::product::{self, PlannedProduct};
use crate::manifest::LibraryCall;

/// What a library may compute in place of a launch, with its sizes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PlannedCall {
    Product(PlannedProduct),
    Convolution(PlannedConvolution),
}

/// The call with its sizes; `None` where a symbol has no value, or libraries do not take it.
pub(super) fn resolve(call: &LibraryCall, values: &Values) -> Option<PlannedCall> {
    match call {
        LibraryCall::Product(product) => product::resolve(product, values).map(PlannedCall::Product),
        LibraryCall::Convolution(convolution) => {
            convolution::resolve(convolution, values).map(PlannedCall::Convolution)
        }
    }
}
