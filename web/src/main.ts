import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { listen } from './lib/feed.svelte';
import { enter } from './lib/user.svelte';

void enter().then(() => {
  listen();
  mount(App, { target: document.getElementById('app')! });
});
