"""What the lake answers: seats, used and unused, their cost, and how they change."""
