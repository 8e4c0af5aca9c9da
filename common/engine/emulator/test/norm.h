// Batch normalisation from sums in parts to coefficients and gradients, and biases.
#pragma once
#include "finish.h"

// Coefficients of the whole normalisation, applied as `affine` and `affine_gradient` do, against batch normalisation
// and its gradient in f64. A mean far from zero and a deviation below one: what single sums would lose shows.
static std::string test_norm(int n, int h, int w, int c, bool batch) {
    Map x(n, h, w, c), g(n, h, w, c);
    const int pixel = x.pixel, places = (int)x.places();
    x.data.fill([&](size_t i) { return narrow((int)(i % pixel) < c ? 0.5f + uniform() * (0.2f + i % pixel % 3) : 0); });
    g.random();
    Floats gamma(c), beta(c), mean(c), variance(c), coefficients(3 * pixel), back(4 * pixel), batch_mean(c), batch_variance(c), gamma_gradient(c), beta_gradient(c);
    Device<double> moments(2 * pixel);
    gamma.fill([](size_t) { return 1 + uniform() / 2; });
    randomise(beta), randomise(mean), randomise(gamma_gradient), randomise(beta_gradient);
    variance.fill([](size_t) { return 1.5f + uniform(); });
    const std::vector<double> gamma_before = values(gamma_gradient), beta_before = values(beta_gradient);
    const u32 blocks = tiles(places, 64);
    Floats parts((size_t)blocks * 2 * pixel), gradient_parts((size_t)blocks * 2 * pixel);
    const double eps = 1e-5;
    const std::string where = std::to_string(places) + " places of " + std::to_string(c) + (batch ? " channels" : " channels, running");
    const dim sums = {blocks, tiles(pixel, 64), 1}, finishing = {tiles(pixel, 32), 1, 1}, threads = {32, 32, 1};
    Norm norm = {parts, gamma, beta, mean, variance, coefficients, moments, batch_mean, batch_variance, eps, (int)blocks, places, c, pixel};
    if (batch) {
        run("channel_sums", sums, {256, 1, 1}, 16384, ChannelSums{x.data, nullptr, nullptr, parts, places, pixel});
        run("norm_finish", finishing, threads, 16384, norm);
    } else {
        run_each("norm_running", pixel, norm);
    }
    run("channel_gradient_sums", sums, {256, 1, 1}, 16384, ChannelSums{x.data, g.data, coefficients, gradient_parts, places, pixel});
    run("norm_gradient", finishing, threads, 16384, NormGradient{gradient_parts, gamma, moments, back, gamma_gradient, beta_gradient, (int)blocks, places, c, pixel, batch});
    std::vector<double> y, dx, wanted_y, wanted_dx, means, wanted_means, variances, wanted_variances, learned, wanted_learned;
    for (int k = 0; k < c; k++) {
        double sum = 0, squares = 0, of_g = 0, of_gx = 0;
        auto at = [&](const Map& m, int p) { return (double)widen(m.data.p[(size_t)p * pixel + k]); };
        for (int p = 0; p < places; p++) sum += at(x, p);
        const double m = batch ? sum / places : mean.p[k];
        for (int p = 0; p < places; p++) squares += (at(x, p) - m) * (at(x, p) - m);
        const double s = 1 / sqrt((batch ? squares / places : variance.p[k]) + eps);
        for (int p = 0; p < places; p++) of_g += at(g, p), of_gx += at(g, p) * (at(x, p) - m) * s;
        for (int p = 0; p < places; p++) {
            const double normal = (at(x, p) - m) * s;
            y.push_back((at(x, p) - coefficients.p[k]) * coefficients.p[pixel + k] + coefficients.p[2 * pixel + k]);
            wanted_y.push_back(normal * gamma.p[k] + beta.p[k]);
            dx.push_back(at(g, p) * back.p[pixel + k] - (at(x, p) - back.p[k]) * back.p[2 * pixel + k] - back.p[3 * pixel + k]);
            wanted_dx.push_back(gamma.p[k] * s * (batch ? at(g, p) - of_g / places - normal * of_gx / places : at(g, p)));
        }
        learned.insert(learned.end(), {gamma_gradient.p[k], beta_gradient.p[k]});
        wanted_learned.insert(wanted_learned.end(), {gamma_before[k] + of_gx, beta_before[k] + of_g});
        means.push_back(batch ? batch_mean.p[k] : 0), wanted_means.push_back(batch ? m : 0);
        variances.push_back(batch ? batch_variance.p[k] : 0), wanted_variances.push_back(batch ? squares / (places - 1) : 0);
    }
    const std::string kernel = batch ? "norm_finish" : "norm_running";
    agree(kernel, y, wanted_y, FLOAT, where);
    agree(kernel, means, wanted_means, FLOAT, where + ", mean");
    agree(kernel, variances, wanted_variances, FLOAT, where + ", variance");
    agree("norm_gradient", dx, wanted_dx, FLOAT, where);
    agree("norm_gradient", learned, wanted_learned, FLOAT, where + ", gamma and beta");
    bool zeros = true;
    for (int i = 0; i < 4 * pixel; i++) zeros &= i % pixel < c || ((i >= 3 * pixel || coefficients.p[i] == 0) && back.p[i] == 0);
    check(zeros, kernel, where + ": padding is not zero");
    covered("channel_sums"), covered("channel_gradient_sums");
    return bits_of_memory(coefficients) + bits_of_memory(back);
}
static std::string test_running_coefficients() {
    Floats gamma(3), coefficients(4 * 8);
    Device<double> moments(16);
    gamma.fill([](size_t i) { return (float)i + 1; });
    moments.fill([](size_t i) { return i % 8 < 3 ? 0.5 + i / 8 : 0; });
    run("norm_gradient", {1, 1, 1}, {32, 32, 1}, 16384, NormGradient{nullptr, gamma, moments, coefficients, nullptr, nullptr, 0, 1, 3, 8, 0});
    for (int i = 0; i < 32; i++) {
        const double wanted = i % 8 >= 3 || i >= 16 ? 0 : i < 8 ? 0.5 : 1.5 * (i % 8 + 1);
        check(coefficients.p[i] == (float)wanted, "norm_gradient", "coefficients without sums");
    }
    return bits_of_memory(coefficients);
}
// From a convolution's moments: more parts than rows of threads.
static std::string test_bias() {
    const int blocks = 70, c = 45, pixel = 48;
    Floats parts(blocks * 2 * pixel), gradient(c);
    randomise(parts), randomise(gradient);
    std::vector<double> wanted = values(gradient);
    for (int b = 0; b < blocks; b++)
        for (int k = 0; k < c; k++) wanted[k] += parts.p[b * 2 * pixel + k];
    run("bias_gradient", {tiles(pixel, 32), 1, 1}, {32, 32, 1}, 16384, BiasGradient{parts, gradient, blocks, c, pixel});
    agree("bias_gradient", values(gradient), wanted, FLOAT, "");
    return bits_of_memory(gradient);
}
static void test_norms() {
    struct Size { int n, h, w, c; };
    for (const Size& s : {Size{3, 5, 7, 20}, Size{2, 16, 16, 136}, Size{4, 1, 1, 8}})
        for (bool batch : {true, false})
            if (wanted("norm") || wanted("channel_")) in_every_mode("norm_finish", "", [&] { return test_norm(s.n, s.h, s.w, s.c, batch); });
    if (wanted("norm")) in_every_mode("norm_gradient", "", test_running_coefficients);
    if (wanted("bias")) in_every_mode("bias_gradient", "", test_bias);
}
