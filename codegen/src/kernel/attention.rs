//! Attention: `softmax(scale · Q·Kᵀ + mask) · V`, a head at a time.
use super::contract::Access;
use sardonyx_tensor::Dim;

/// Scaled dot-product attention with optional mask, causal limit and soft cap:
/// ```text
/// s[b,h,i,j] = softcap(scale · Σ_d q[b,h,i,d] · k[b,h/group,j,d]) + mask[b,h,i,j]
/// out[b,h,i,:] = Σ_j softmax_j(s[b,h,i,:])[j] · v[b,h/group,j,:]
/// ```
/// where `softcap(x) = cap · tanh(x / cap)`, and `h/group` shares a key/value head between `group` query
/// heads. A row in which every key is masked gives zeros. Computed in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Sequences.
    pub batch: Dim,
    /// Query heads.
    pub heads: Dim,
    /// Query heads per key/value head.
    pub group: i64,
    /// Queries of a sequence.
    pub queries: Dim,
    /// Keys (and values) of a sequence.
    pub keys: Dim,
    /// Elements of a query and of a key.
    pub head: i64,
    /// Elements of a value.
    pub value: i64,
    /// The factor of the scores.
    pub scale: f64,
    /// The bound of the scores, where there is one.
    pub softcap: Option<f64>,
    /// Causal: query `i` sees the keys `j <= i + offset`. For queries that are the last of the keys'
    /// sequence, `keys - queries`.
    pub causal: Option<Dim>,
    /// Over `batch, head, query, element`.
    pub q: Access,
    /// Over `batch, key/value head, key, element`.
    pub k: Access,
    /// Over `batch, key/value head, key, element`.
    pub v: Access,
    /// Over `batch, head, query, key`: a bool buffer says which keys are seen, a float one is added.
    pub mask: Option<Access>,
    /// Over `batch, head, query, element`.
    pub out: Access,
}
