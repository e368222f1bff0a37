"""streamlic in other tools' own terms. Each needs an extra of its own."""
