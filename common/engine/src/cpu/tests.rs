//! A whole network on every instruction set that this machine has; `tests/tests/engines` has the rest, on the best.

use candle_core::{DType, Device, Tensor};

use super::vector::memory::locked;
use super::vector::simd::Isa;
use super::{Cpu, run};
use crate::engine::{Engine, Keep, Norm};
use crate::graph::{Builder, Conv2d, GraphError, Network, Op};
use crate::images::Images;
use crate::params::{Grads, Params, Precision, Role};
use crate::reference::Reference;

/// Winograd, direct, 1x1 and depthwise convolutions, pools, a residual, a layer that the whole pool works on.
fn network() -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new([3, 14, 11]);
    let x = b.conv("stem", Conv2d::new(20, 3).padding(1), x)?;
    let x = b.batch_norm("stem.bn", x)?;
    let stem = b.relu(x)?;
    let x = b.conv("plain", Conv2d::new(20, 3).padding(1), stem)?;
    let x = b.batch_norm("plain.bn", x)?;
    let x = b.add(x, stem)?;
    let x = b.relu(x)?;
    let x = b.max_pool(2, x)?;
    let x = b.conv("wide", Conv2d::new(36, 1).bias(), x)?;
    let x = b.conv("depthwise", Conv2d::new(36, 3).padding(1).groups(36), x)?;
    let x = b.batch_norm("depthwise.bn", x)?;
    let x = b.relu(x)?;
    let x = b.conv("stride", Conv2d::new(216, 3).stride(2).padding(1), x)?;
    let x = b.relu(x)?;
    let x = b.conv("large", Conv2d::new(216, 3).padding(1), x)?;
    let x = b.node("mean", Op::GlobalAvgPool, &[x])?;
    b.linear("classifier", 5, x)?;
    b.finish("most-kernels")
}

/// Values between -0.5 and 0.5 that look drawn: the fractions of multiples of the golden ratio.
fn drawn(count: usize, from: usize) -> impl Iterator<Item = f64> {
    (from..from + count).map(|i| f64::from(((i as f64 * 0.618_033_988_749_895).fract() - 0.5) as f32))
}

fn tensor(shape: &[usize], from: usize, dtype: DType) -> Tensor {
    let values: Vec<f64> = drawn(shape.iter().product(), from).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// Logits, image gradient and the gradient of each parameter.
fn run(engine: &dyn Engine, network: &Network, params: &Params, norm: Norm, keep: Keep) -> Vec<Vec<f64>> {
    let dtype = if params.precision() == Precision::F64 { DType::F64 } else { DType::F32 };
    let images = (tensor(&[6, 3, 14, 11], 7, dtype) + 0.5).unwrap().into();
    let pass = engine.forward(network, params, &images, norm, keep, &[]).unwrap();
    let wide = |tensor: &Tensor| -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let mut found = vec![wide(&pass.logits)];
    if keep != Keep::Nothing {
        let mut grads = Grads::zeros(network.layout(), params.precision());
        let seed = tensor(&[6, 5], 999, dtype);
        let wanted = keep.params().then_some(&mut grads);
        let image = engine.backward(pass.tape, &[Some(seed)], wanted).unwrap();
        found.extend(image.as_ref().map(wide));
        let entries = network.layout().trainable().iter();
        found.extend(entries.map(|entry| grads.values().to_f64(entry.range.clone())));
    }
    found
}

/// Values at which no layer is silent; in f32 they are the same.
fn values(network: &Network) -> Params {
    let mut truth = Params::zeros(network.layout(), Precision::F64);
    for entry in network.layout().trainable() {
        let scale = if entry.fan_in > 0 { (6.0 / entry.fan_in as f64).sqrt() } else { 1.0 };
        let centre = if entry.fan_in > 0 { 0.0 } else { 0.75 };
        for (place, value) in entry.range.clone().zip(drawn(entry.range.len(), entry.range.start)) {
            truth.trainable_mut().set(place, f64::from((centre + scale * value) as f32));
        }
    }
    for entry in network.layout().statistics() {
        let centre = if entry.role == Role::RunningVar { 0.75 } else { 0.0 };
        for (place, value) in entry.range.clone().zip(drawn(entry.range.len(), 31 + entry.range.start)) {
            truth.statistics_mut().set(place, f64::from((centre + 0.5 * value) as f32));
        }
    }
    truth
}

#[test]
fn every_instruction_set_agrees_with_the_reference_in_f64() {
    let network = network().unwrap();
    let truth = values(&network);
    let params = truth.to_precision(Precision::F32);
    let oracle = Reference::new(1).unwrap();
    for isa in Isa::available() {
        let engine = Cpu::on(isa, 2).unwrap();
        for norm in [Norm::Running, Norm::Batch] {
            for keep in [Keep::Nothing, Keep::ForImage, Keep::ForParams, Keep::Both] {
                let wanted = run(&oracle, &network, &truth, norm, keep);
                let found = run(&engine, &network, &params, norm, keep);
                assert_eq!(found.len(), wanted.len());
                let size = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
                let largest = wanted.iter().map(|values| size(values)).fold(0.0, f64::max);
                for (what, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                    let difference: Vec<f64> = found.iter().zip(wanted).map(|(a, b)| a - b).collect();
                    // A bias before BatchNorm has a gradient of zero but for rounding.
                    let scale = if size(wanted) < 1e-9 * largest { largest } else { size(wanted) };
                    let off = size(&difference) / scale;
                    assert!(off <= 2e-5, "{isa:?}, {norm:?}, {keep:?}: {what} is off by {off:.1e}");
                }
            }
        }
    }
}

#[test]
fn a_backward_adds_to_gradients_or_writes_over_cleared_ones() {
    let network = network().unwrap();
    let params = values(&network).to_precision(Precision::F32);
    for isa in Isa::available() {
        let engine = Cpu::on(isa, 2).unwrap();
        let backward = |from: usize, grads: &mut Grads| {
            let images = (tensor(&[6, 3, 14, 11], from, DType::F32) + 0.5).unwrap().into();
            let pass = engine.forward(&network, &params, &images, Norm::Batch, Keep::ForParams, &[]).unwrap();
            engine.backward(pass.tape, &[Some(tensor(&[6, 5], from, DType::F32))], Some(grads)).unwrap();
        };
        let all = |grads: &Grads| grads.values().to_f64(0..network.layout().trainable_len());
        let alone = [7, 77].map(|from| {
            let mut grads = Grads::zeros(network.layout(), Precision::F32);
            backward(from, &mut grads);
            all(&grads)
        });
        let mut both = Grads::zeros(network.layout(), Precision::F32);
        both.values_mut().fill(0..network.layout().trainable_len(), f64::NAN);
        engine.clear(&mut both).unwrap();
        assert!(all(&both).iter().all(|&gradient| gradient == 0.0), "cleared, and nothing written yet");
        backward(7, &mut both);
        assert!(all(&both) == alone[0], "{isa:?}: written over");
        backward(77, &mut both);
        // Each is rounded once, when it is added.
        let sum: Vec<f64> = alone[0].iter().zip(&alone[1]).map(|(a, b)| f64::from((a + b) as f32)).collect();
        assert!(all(&both) == sum, "{isa:?}: added");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits_on_every_instruction_set() {
    let network = network().unwrap();
    let params = values(&network).to_precision(Precision::F32);
    for isa in Isa::available() {
        for (norm, keep) in
            [(Norm::Running, Keep::Nothing), (Norm::Running, Keep::ForImage), (Norm::Batch, Keep::Both)]
        {
            let of = |threads| -> Vec<Vec<u64>> {
                let found = run(&Cpu::on(isa, threads).unwrap(), &network, &params, norm, keep);
                found.into_iter().map(|values| values.into_iter().map(f64::to_bits).collect()).collect()
            };
            let one = of(1);
            for threads in [2, 5, 16, 64] {
                assert!(of(threads) == one, "{isa:?}, {norm:?}, {keep:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn a_query_is_rounded_as_an_attacks_forward_and_as_a_judges_where_convolutions_are_to_be_exact() {
    let network = network().unwrap();
    let params = values(&network).to_precision(Precision::F32);
    let images: Images = (tensor(&[6, 3, 14, 11], 7, DType::F32) + 0.5).unwrap().into();
    let bits = |logits: Tensor| -> Vec<u32> {
        logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    let engine = Cpu::new(1).unwrap();
    let attacks = engine.forward(&network, &params, &images, Norm::Running, Keep::ForImage, &[]).unwrap();
    let query = bits(engine.query(&network, &params, &images).unwrap());
    assert_eq!(query, bits(attacks.logits));
    assert_ne!(query, bits(engine.logits(&network, &params, &images).unwrap()));
    // Images that do not lie as they are read are read all the same.
    let turned = images.tensor().unwrap().transpose(2, 3).unwrap().contiguous().unwrap();
    let turned = turned.transpose(2, 3).unwrap().into();
    assert_eq!(query, bits(engine.query(&network, &params, &turned).unwrap()));
    let exact = Cpu::new(1).unwrap().exact_conv(true);
    let judged = bits(exact.logits(&network, &params, &images).unwrap());
    assert_eq!(judged, bits(exact.query(&network, &params, &images).unwrap()));
}

#[test]
fn memory_of_a_large_batch_goes_when_it_is_long_not_needed() {
    let network = network().unwrap();
    let params = values(&network).to_precision(Precision::F32);
    // Statistics of the batch are sums, in parts of a batch: they have memory of their own.
    for norm in [Norm::Running, Norm::Batch] {
        let engine = Cpu::new(1).unwrap();
        let ask = |count: usize| {
            let images: Images = (tensor(&[count, 3, 14, 11], 7, DType::F32) + 0.5).unwrap().into();
            engine.forward(&network, &params, &images, norm, Keep::Nothing, &[]).unwrap();
        };
        let held = || {
            let workspace = locked(&engine.workspace);
            let workspace = workspace.as_ref().expect("a workspace is kept");
            [workspace.len(), workspace.sums()]
        };
        ask(1);
        let small = held();
        ask(48);
        let large = held();
        assert!(large[0] > 2 * small[0], "{large:?} values beside {small:?}");
        assert_eq!(large[1] > 2 * small[1], norm == Norm::Batch, "{large:?} sums beside {small:?}");
        for _ in 0..2 * run::PATIENCE {
            ask(1);
        }
        let kept = held();
        let enough = kept.iter().zip(&small).all(|(kept, small)| kept <= small);
        assert!(enough, "{kept:?} values are kept of {large:?}, {small:?} are needed");
    }
}
