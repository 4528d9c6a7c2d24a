#!/usr/bin/perl

# Why: a configuration that cannot work, or that would be open, has to be
# refused before it runs, in words that say where to look.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Nginxt;

my $t = Test::Lockbox->new;

%PARTS = (locations => gate());
accepted($t, 'the good configuration', {});

# One directive of the http block with that value, refused; the twin has
# another value.
sub value {
    my ($name, $pattern, $bad, $good) = @_;

    rejected($t, "$name $bad", $pattern, { directives => { $name => $bad } },
             { directives => { $name => $good } });
}


# What must be there

for my $name (qw(lockbox_tenant lockbox_service)) {
    rejected($t, "no $name", qr/"lockbox on" in .*:\d+ has no "$name"/,
             { locations => gate($name => undef) }, {});
}

for my $case (
    [ 'lockbox_redis', undef ],
    [ 'lockbox_signing_key', undef ],
    [ 'lockbox_audit_log', undef ],
    [ 'lockbox_audit_log', '%%TESTDIR%%/a.log optional' ],
) {
    my ($name, $value) = @$case;
    my $what = $value ? "$name $value" : "no $name";
    my %parts = (directives => { $name => $value });

    rejected($t, "$what, gated", qr/"lockbox on" in .*:\d+ needs "$name"/,
             \%parts);
    rejected($t, "$what, admin", qr/"lockbox_admin on" needs "$name"/,
             { %parts, locations => admin() });
    accepted($t, "$what, neither", { %parts, locations => '' });
}

rejected($t, 'no issuer, gated', qr/"lockbox on" in .* needs "lockbox_issuer"/,
         { issuers => '' });
rejected($t, 'no issuer, admin', qr/"lockbox_admin on" needs "lockbox_issuer"/,
         { issuers => '', locations => admin() });
accepted($t, 'no issuer, neither', { issuers => '', locations => '' });
accepted($t, 'an optional log besides', { directives => {
    lockbox_audit_log => [ '%%TESTDIR%%/a.log', '%%TESTDIR%%/b.log optional' ],
} });
rejected($t, 'gated by the http block', qr/"lockbox on" in .* has no "lockbox/,
         { http => 'lockbox on;', locations => '' },
         { http => "lockbox on;\nlockbox_tenant acme;\nlockbox_service mail;",
           locations => '' });


# Values

$t->write_file('password', "secret\n");
$t->write_file('newlines', "\r\n\n");
$t->write_file('empty', '');

value('lockbox_redis', @$_) for (
    [ qr/no path in the unix domain socket in "unix:"/, 'unix:',
      '127.0.0.1:6379' ],
    [ qr/invalid port in "127.0.0.1:x"/, '127.0.0.1:x', '127.0.0.1' ],
    [ qr/invalid parameter "cluster=on"/, '%%REDIS%% cluster=on',
      '%%REDIS%% db=1' ],
    [ qr/invalid parameter "db=x"/, '%%REDIS%% db=x', '%%REDIS%% db=0' ],
    [ qr/invalid parameter "db=-1"/, '%%REDIS%% db=-1', '%%REDIS%% db=15' ],
    [ qr/invalid parameter "timeout=0"/, '%%REDIS%% timeout=0',
      '%%REDIS%% timeout=1ms' ],
    [ qr/invalid parameter "timeout=soon"/, '%%REDIS%% timeout=soon',
      '%%REDIS%% timeout=1s' ],
    [ qr/invalid parameter "connect_timeout=0s"/,
      '%%REDIS%% connect_timeout=0s', '%%REDIS%% connect_timeout=1s' ],
    [ qr/invalid parameter "timeout"/, '%%REDIS%% timeout', '%%REDIS%%' ],
    [ qr/invalid parameter "user="/, '%%REDIS%% user=', '%%REDIS%%' ],
    [ qr/"user=lockbox" has no "password_file"/, '%%REDIS%% user=lockbox',
      '%%REDIS%% user=lockbox password_file=%%TESTDIR%%/password' ],
    [ qr/open\(\) ".*no-password" failed/,
      '%%REDIS%% password_file=%%TESTDIR%%/no-password', '%%REDIS%%' ],
    [ qr/".*empty" is not a file of 1 to 65536 bytes/,
      '%%REDIS%% password_file=%%TESTDIR%%/empty',
      '%%REDIS%% password_file=%%TESTDIR%%/password' ],
    [ qr/password file ".*newlines" is empty/,
      '%%REDIS%% password_file=%%TESTDIR%%/newlines',
      '%%REDIS%% password_file=%%TESTDIR%%/password' ],
);

# One number, size or time: what is none, or is out of bounds, is refused with
# its directive, and with what it must be; the bounds themselves are taken.

for my $case (
    [ lockbox_leeway => 'a time of at most 60 seconds', [qw(61s 60001ms)],
      [qw(0 60s)] ],
    [ lockbox_max_duration => 'a time from 1 minute to 14 days',
      [qw(0 59s 1209601s)], [qw(60s 14d)] ],
    [ lockbox_zone => 'a size of at least 64k', [qw(0 63k 65535)],
      [qw(64k 65536)] ],
    [ lockbox_lease => 'a time from 100 milliseconds to 60 seconds',
      [qw(0 99ms 60001ms)], [qw(100ms 60s)] ],
    [ lockbox_trail => 'a number from 100 to 100000000',
      [qw(0 99 100000001 100k off)], [qw(100 100000000)] ],
    [ lockbox_max_open => 'a number from 1 to 1000', [qw(0 1001 1k)],
      [qw(1 1000)] ],
    [ lockbox_retention => 'a time from 1 second to 100 years',
      [qw(0 0d 3153600001s)], [qw(1s 3153600000s)] ],
) {
    my ($name, $must, $bad, $good) = @$case;

    for my $value (qw(x -1 1.5 99999999999999999999), @$bad, '""') {
        my $shown = $value =~ s/"//gr;
        my $said = qq(invalid value "$shown" in "$name" directive, )
                   . "it must be $must in ";

        rejected($t, "$name $value", qr/\Q$said\E\S+:\d+$/m,
                 { directives => { $name => $value } });
    }

    accepted($t, "$name $_", { directives => { $name => $_ } }) for @$good;
}

# Several: it is the last one that is refused.

for my $case (
    [ lockbox_answer_within => 'manager=59s', 'manager=60s' ],
    [ lockbox_answer_within => 'customer=15d', 'customer=14d' ],
    [ lockbox_answer_within => 'manager=1h auditor=1h',
      'manager=1h customer=1h' ],
    [ lockbox_answer_within => 'engineer=15d',
      'manager=14d customer=14d engineer=14d' ],
    [ lockbox_answer_within => 'manager=', 'manager=1h' ],
    [ lockbox_answer_within => '1h', 'manager=1h' ],
    [ lockbox_approvals => 'manager=0', 'manager=1' ],
    [ lockbox_approvals => 'customer=0', 'customer=1' ],
    [ lockbox_approvals => 'customer=10', 'customer=9' ],
    [ lockbox_approvals => 'manager=-1', 'manager=2 customer=2' ],
    [ lockbox_approvals => 'engineer=1', 'customer=1' ],
    [ lockbox_approvals => '2', 'manager=2' ],
    [ lockbox_manager_only => 'acme a/b', 'acme ab' ],
    [ lockbox_audit_log => '%%TESTDIR%%/a.log required',
      '%%TESTDIR%%/a.log' ],
) {
    my ($name, $bad, $good) = @$case;
    my ($last) = $bad =~ /(\S+)$/;

    value($name, qr/invalid value "\Q$last\E" in "$name" directive, it must/,
          $bad, $good);
}

value(@$_) for (
    [ 'lockbox_manager_only', qr/duplicate tenant "acme"/, 'acme b acme',
      'acme b c' ],
    [ 'lockbox_ticket_pattern', qr/pcre2?_compile\(\) failed/, '"SR-("',
      '"^SR-[0-9]+$"' ],
    [ 'lockbox_grant_issuer', qr/"lockbox_grant_issuer" must have 1 to 255/,
      '""', 'https://a' ],
    [ 'lockbox_grant_audience', qr/must have 1 to 255 bytes: "a{256}"/,
      'a' x 256, 'a' x 255 ],
    [ 'lockbox_help_url', qr/"lockbox_help_url" must be plain ASCII/,
      q('https://a/"b"'), 'https://a/b' ],
    [ 'lockbox_help_url', qr/must be plain ASCII/, "https://a/\xc3\xa9",
      'https://a/e' ],
    [ 'lockbox_audit_log', qr/invalid audit log "syslog:server=127.0.0.1"/,
      'syslog:server=127.0.0.1', '%%TESTDIR%%/a.log' ],
    [ 'lockbox_audit_log', qr/invalid audit log ""/, '""', 'logs.log' ],
    [ 'lockbox_audit_log', qr{open\(\) ".*/no/a.log" failed},
      '%%TESTDIR%%/no/a.log', '%%TESTDIR%%/a.log' ],
);


# Nothing twice

for my $case (
    [ lockbox_redis => '%%REDIS%%', '127.0.0.1' ],
    [ lockbox_signing_key => ('%%TESTDIR%%/signing.pem') x 2 ],
    [ lockbox_grant_issuer => 'https://a', 'https://b' ],
    [ lockbox_grant_audience => 'a', 'b' ],
    [ lockbox_help_url => 'https://a', 'https://b' ],
    [ lockbox_leeway => '1s', '2s' ],
    [ lockbox_max_duration => '1h', '2h' ],
    [ lockbox_retention => '1d', '2d' ],
    [ lockbox_max_open => '1', '2' ],
    [ lockbox_ticket_pattern => 'a', 'b' ],
    [ lockbox_answer_within => 'manager=1h', 'manager=2h' ],
    [ lockbox_approvals => 'customer=1', 'customer=2' ],
) {
    my ($name, @values) = @$case;

    rejected($t, "$name twice", qr/"$name" directive is duplicate/,
             { directives => { $name => \@values } },
             { directives => { $name => $values[1] } });
}

value('lockbox_answer_within', qr/"lockbox_answer_within" directive is dupl/,
      'manager=1h manager=1h', 'manager=1h customer=1h');
value('lockbox_audit_log', qr/duplicate audit log ".*a.log"/,
      '%%TESTDIR%%/a.log; lockbox_audit_log %%TESTDIR%%/a.log',
      '%%TESTDIR%%/a.log; lockbox_audit_log %%TESTDIR%%/b.log');

done_testing;
