// SPDX-License-Identifier: GPL-3.0-or-later
import { defineConfig } from "astro/config";

export default defineConfig({
  telemetry: false,
  devToolbar: { enabled: false },
  build: { inlineStylesheets: "never" }, // hashed files under /_astro, as an edge publishes them
  vite: { build: { assetsInlineLimit: 0 } },
});
