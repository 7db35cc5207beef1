// Counts the session's remaining lifetime down. The page is complete without this.

const lifetime = document.getElementById('lifetime');

if (lifetime) {
  const end = Date.now() + Number(lifetime.dataset.seconds) * 1000;

  const show = () => {
    const seconds = Math.max(0, Math.round((end - Date.now()) / 1000));
    lifetime.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    if (seconds === 0) clearInterval(timer);
  };
  const timer = setInterval(show, 1000);
}
