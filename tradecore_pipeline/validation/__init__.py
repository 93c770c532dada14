"""What keeps results honest: training windows, purged folds, scores, and checks for look-ahead."""
