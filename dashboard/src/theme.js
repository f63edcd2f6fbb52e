// Light or dark: as the system says, until somebody chooses otherwise. The choice stays in this browser.
import { effect, signal } from '@preact/signals';

const dark = matchMedia('(prefers-color-scheme: dark)');
const stored = () => {
    try { return localStorage.getItem('weft-theme'); } catch { return null; }
};
const chosen = signal(stored());
const system = signal(dark.matches);
dark.addEventListener('change', () => { system.value = dark.matches; });

export const isDark = () => (chosen.value ? chosen.value === 'dark' : system.value);
export function toggle() {
    chosen.value = isDark() ? 'light' : 'dark';
    try { localStorage.setItem('weft-theme', chosen.value); } catch { /* A private window: it lasts as long as the page. */ }
}
effect(() => { document.documentElement.dataset.theme = isDark() ? 'dark' : 'light'; });
