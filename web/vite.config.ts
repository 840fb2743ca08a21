import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The bundle is committed: its names are stable, and nothing in it depends on where or when it was built.
export default defineConfig({
  plugins: [svelte()],
  base: '/desktop/',
  build: {
    outDir: '../src/llmagent_os/gateway/desktop',
    emptyOutDir: true,
    target: 'es2022',
    cssTarget: 'chrome125',
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { app: 'index.html', feed: 'src/feed.worker.ts' },
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: '[name][extname]',
      },
    },
  },
});
