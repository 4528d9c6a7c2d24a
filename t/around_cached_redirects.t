#!/usr/bin/perl

# Why: what was allowed may be led on to where nothing is gated, and caches go
# on there.  The answer is still under the grant that has opened the way: it
# must not stay behind for others, and nobody gets what stayed behind of theirs.

use strict;
use warnings;

use File::Find ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, by tenant, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location ~ ^/tenants/(?<tenant>\\w+)/$service/ {",
        'lockbox on;', 'lockbox_tenant $tenant;', "lockbox_service $service;",
        @more, "}\n";
}

my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';
my $cache = "proxy_cache shared; $upstream";
my $intercept = 'proxy_intercept_errors on;';

$t->redis;
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(http => <<'EOF_HTTP', locations => join '',
    proxy_cache_path      %%TESTDIR%%/kept keys_zone=shared:1m
                          use_temp_path=off;
    proxy_cache_key       $arg_key$slice_range;
    proxy_cache_valid     any 1h;
    proxy_cache_valid     200 206 1h;
    add_header            X-Cache $upstream_cache_status always;
EOF_HTTP
    gated('passed', "error_page 404 = \@archive; $intercept", $upstream),
    gated('accel', $upstream),
    gated('tried', 'try_files /none @archive;'),
    <<"EOF_LOCATIONS"));
location \@archive { proxy_set_header X-Archive yes; $cache }
location /archive/ {
    proxy_set_header             X-Archive yes;
    proxy_cache_use_stale        updating;
    proxy_cache_background_update  on;
    $cache
}
location /archive/storing/ {
    proxy_set_header  X-Archive yes;
    proxy_store       %%TESTDIR%%/kept/\$arg_key;
    $upstream
}
location /archive/sliced/ {
    slice             1k;
    proxy_set_header  X-Archive yes;
    proxy_set_header  Range \$slice_range;
    $cache
}
location /archive/missing/ {
    proxy_set_header  X-Archive yes;
    error_page        404 /nf;
    $intercept
    $cache
}
location = /nf { return 200 nothing; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;

sub answer {
    my ($request) = @_;

    my ($uri, $asked) = @$request{qw(uri headers)};
    my $archive = $asked->{'x-archive'};
    my $body = "the secret of $uri " x 100;
    my ($to) = $uri =~ /[?&]to=(.*)/;

    return [ 200, { 'X-Accel-Redirect' => $to }, '' ] if $to && !$archive;
    return [ 404, {}, 'not here' ] if !$archive || $uri =~ /missing/;
    return undef if $uri =~ /dying/;

    # a time long past: what a cache keeps is old at once
    my %headers = $uri =~ /old/ ? ('X-Accel-Expires' => '@1') : ();
    my ($first, $last) = ($asked->{range} // '') =~ /=(\d+)-(\d+)/
        or return [ 200, \%headers, $body ];
    my $part = substr $body, $first, $last - $first + 1;

    $last = $first + length($part) - 1;
    $headers{'Content-Range'} = "bytes $first-$last/" . length $body;

    return [ 206, \%headers, $part ];
}

my %grant;

# The answer to an engineer of that tenant.
sub get {
    my ($tenant, $service, $args) = @_;

    my $token = $grant{$tenant}{$service} //= $t->grant(
        life => 3600, tenant => $tenant,
        access => [ {
            service => $service, methods => ['GET'],
            paths => ["/tenants/$tenant/$service/"],
        } ]);

    return $t->http('GET', "/tenants/$tenant/$service/x?$args",
                    token => $token);
}

# The bytes of all files that nginx keeps; nothing to show on a terminal.
sub kept {
    my @files;

    File::Find::find(sub { push @files, $File::Find::name if -f },
                     $t->testdir . '/kept');

    return join '', map { $t->read_file(s{^\Q@{[ $t->testdir ]}\E/}{}r) }
                    @files;
}

my $seen = 0;

# How many requests have arrived since the last call, for what is led on to.
sub arrived {
    my @requests = $t->upstream_requests;
    my @new = @requests[ $seen .. $#requests ];

    $seen = @requests;

    return scalar grep { $_->{headers}{'x-archive'} } @new;
}


# Nothing is kept

for my $case (
    [ 'error_page', 'passed' ],
    [ 'try_files', 'tried' ],
    [ 'X-Accel-Redirect to a name', 'accel', '@archive' ],
    [ 'X-Accel-Redirect', 'accel', '/archive/x' ],
    [ '... to a cache of slices', 'accel', '/archive/sliced/x' ],
    [ '... to a store', 'accel', '/archive/storing/x' ],
) {
    my ($name, $service, $to) = @$case;
    my ($key) = "kept-$name" =~ s/\W//gr;
    my $args = "key=$key" . ($to ? "&to=$to" : '');
    $args .= "?key=$key" if $to && $to =~ m{^/};

    for my $tenant (qw(acme globex)) {
        my $answer = get($tenant, $service, $args);

        let_through($answer, "$name, $tenant");
        like($answer->body, qr/^the secret of/, "$name, $tenant: an answer");
        is($answer->header('x-cache'), $to && $to =~ /storing/ ? undef
                                                               : 'MISS',
           "$name, $tenant: from no cache");
        recorded([ 'allow' ], "$name, $tenant: on record");
        cmp_ok(arrived(), '>', 0, "$name, $tenant: arrives");
    }

    ok(kept() eq '', "$name: nothing is kept");
}


# Nothing comes out

for my $case (
    # what it is, its path, status, and what a cache says the second time
    [ 'an answer', 'x', 200, 'HIT' ],
    [ 'an old answer', 'old', 200, 'STALE' ],
    [ 'slices', 'sliced/x', 200, 'HIT' ],
    [ 'an error of the tenant API', 'missing/x', 404, 'HIT' ],
    [ 'an error of nginx', 'dying', 502, 'HIT' ],
) {
    my ($name, $path, $status, $again) = @$case;
    my ($key) = "found-$name" =~ s/\W//gr;
    my $uri = "/archive/$path?key=$key";

    # what was not gated at all is kept, and comes out
    for my $cache ('MISS', $again) {
        my $answer = $t->http('GET', $uri);

        is($answer->status, $status, "$name, not gated: $status");
        is($answer->header('x-cache'), $cache, "$name, not gated: $cache");
    }

    refused(get('acme', 'accel', "to=$uri"), 'internal_error',
            "$name of others");
    recorded([ 'internal_error' ], "$name of others: on record");
    like($t->read_file('error.log'),
         qr/location comes from a shared cache.*\Qto=$uri \E/,
         "$name of others: in the error log");

    # the mere status of an error is kept, but is nobody else's answer
    for my $tenant (qw(acme globex)) {
        my $answer = get($tenant, 'accel', "to=$uri-own");
        my $which = "$name of one's own, $tenant";

        if ($status == 200 || $tenant eq 'acme') {
            is($answer->status, $status, $which);
            recorded([ 'allow' ], "$which: on record");
        } else {
            refused($answer, 'internal_error', $which);
            recorded([ 'internal_error' ], "$which: on record");
        }
    }
}

done_testing;
