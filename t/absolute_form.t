#!/usr/bin/perl

# Why: nginx takes the server, and with it the tenant, from a request line in
# absolute form, and may hand the Host field on.  Where the two differ somebody
# is deceived; and where behind the name there is more than nginx goes by.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $LONG = 'h' x 100 . '.example';
my $PORTS = 'listen 127.0.0.1:%%PORT_8080%%;';

my $t = Test::Lockbox->new;

# A gated location of acme's mail, or of another tenant's.
sub gated {
    my ($path, $tenant) = @_;

    return <<"EOF_LOCATION";
location $path {
    lockbox           on;
    lockbox_tenant    $tenant;
    lockbox_service   mail;
    proxy_set_header  Host \$http_host;
    proxy_pass        http://127.0.0.1:%%PORT_8081%%;
}
EOF_LOCATION
}

$t->write_file('page.html', '<!--# include virtual="/mail/x" -->');

begin($t, http => <<"EOF_HTTP",
client_header_buffer_size    64;
large_client_header_buffers  8 4k;
server {
    $PORTS
    server_name other.example;
    @{[ gated('/mail/', 'globex') ]}
}
server {
    $PORTS
    server_name open.example;
    location / { return 200 "open"; }
}
EOF_HTTP
    server => 'listen 127.0.0.1:%%PORT_8443%% http2; server_name ~.;',
    locations => join '', gated('/mail/', 'acme'), gated('= /', 'acme'),
        'location = /page.html { root %%TESTDIR%%; ssi on; }',
        'location /lockbox/ { lockbox_admin on; }');

my $grant = $t->grant(access => [ {
    service => 'mail', methods => [ 'GET' ], paths => [ '/' ] } ]);

what_is_named();
old_versions();
no_host();
other_servers();
buffers();
subrequests();
http2();
behind_the_name();

done_testing;


sub lines {
    my ($line, @headers) = @_;

    return join "\r\n", $line, @headers, "Authorization: Bearer $grant",
                'Connection: close', '', '';
}

sub send_lines {
    return $t->http_raw(lines(@_));
}

# Sends the request, and has it let through or refused with that word; nginx's
# own refusals are status codes.
sub judge {
    my ($word, $name, @lines) = @_;

    my $before = () = $t->upstream_requests;
    my $got = send_lines(@lines);
    my $seen = (() = $t->upstream_requests) - $before;

    if ($word eq 'allow') {
        let_through($got, $name);
    } elsif ($word =~ /^\d/) {
        is($got->status, $word, "$name: nginx's own $word");
    } else {
        refused($got, $word, $name);
    }

    is($seen, $word eq 'allow' ? 1 : 0, "$name: what the tenant API saw");
    recorded([ $word =~ /^\d/ ? () : $word ], "$name: on record");

    return $got;
}


sub what_is_named {
    my $got = judge('allow', 'the same host', 'GET http://localhost/mail/x '
                    . 'HTTP/1.1', 'Host: localhost');

    is($got->json->{uri}, '/mail/x', '... goes on as a path');
    is($got->json->{headers}{host}, 'localhost', '... with its host');

    for my $case (
        # word, authority, Host
        [ 'allow', 'LOCALhost', 'localHOST' ],
        [ 'allow', 'localhost:8080', 'localhost:8080' ],
        [ 'allow', 'unknown.example', 'unknown.example' ],
        [ 'allow', '127.0.0.1', '127.0.0.1' ],
        [ 'allow', '[::1]:80', '[::1]:80' ],
        [ 'allow', $LONG, $LONG ],
        [ 'ambiguous_target', 'localhost', 'other.example' ],
        [ 'ambiguous_target', 'localhost', 'localhost.example' ],
        [ 'ambiguous_target', 'localhost.example', 'localhost' ],
        [ 'ambiguous_target', 'localhost', 'localhos' ],
        [ 'ambiguous_target', 'localhost', 'localhost:80' ],
        [ 'ambiguous_target', 'localhost:80', 'localhost' ],
        [ 'ambiguous_target', 'localhost:80', 'localhost:8080' ],
        [ 'ambiguous_target', 'localhost:8080', 'localhost:80' ],
        [ 'ambiguous_target', 'localhost', 'localhost.' ],
        [ 'ambiguous_target', 'localhost.', 'localhost' ],
        [ 'ambiguous_target', '127.0.0.1', 'localhost' ],
        [ 'ambiguous_target', $LONG, "x$LONG" ],
        [ 400, 'acme@localhost', 'localhost' ],
        [ 400, 'localhost', '' ],
        [ 400, '', 'localhost' ],
    ) {
        my ($word, $authority, $host) = @$case;

        judge($word, "//$authority and Host: $host",
              "GET http://$authority/mail/x HTTP/1.1", "Host: $host");
    }

    for my $rest ('', '?a=b', '/', '/?a') {
        judge('allow', "the same host and \"$rest\"",
              "GET http://localhost$rest HTTP/1.1", 'Host: localhost');
        judge('ambiguous_target', "another host and \"$rest\"",
              "GET http://localhost$rest HTTP/1.1", 'Host: other.example');
    }

    for my $scheme (qw(https HTTP ftp)) {
        judge('allow', "the same host by $scheme",
              "GET $scheme://localhost/mail/x HTTP/1.1", 'Host: localhost');
        judge('ambiguous_target', "another host by $scheme",
              "GET $scheme://localhost/mail/x HTTP/1.1",
              'Host: other.example');
    }

    judge('allow', 'no absolute form', 'GET /mail/x HTTP/1.1',
          'Host: whatever.example');
    judge('allow', 'one in the query',
          'GET /mail/x?http://other.example/ HTTP/1.1', 'Host: localhost');
}

sub old_versions {
    judge('allow', 'HTTP/1.0 without Host',
          'GET http://localhost/mail/x HTTP/1.0');
    judge('allow', 'HTTP/1.0 with the same Host',
          'GET http://localhost/mail/x HTTP/1.0', 'Host: localhost');
    judge('ambiguous_target', 'HTTP/1.0 with another Host',
          'GET http://localhost/mail/x HTTP/1.0', 'Host: other.example');
}

# nginx looks after these.
sub no_host {
    judge(400, 'HTTP/1.1 without Host',
          'GET http://localhost/mail/x HTTP/1.1');
    judge(400, 'two hosts', 'GET http://localhost/mail/x HTTP/1.1',
          'Host: localhost', 'Host: localhost');
}

# The server is that of the request line.
sub other_servers {
    my $line = 'GET http://other.example/mail/x HTTP/1.1';

    refused(send_lines($line, 'Host: other.example'), 'wrong_tenant',
            'another server, twice', qw(asked granted request));
    refused(send_lines($line, 'Host: localhost'), 'ambiguous_target',
            'another server, which the Host field denies');
    is(send_lines('GET http://open.example/mail/x HTTP/1.1',
                  'Host: localhost')->body, 'open',
       'a server that is not gated does not mind');
    refused(send_lines('GET http://localhost/mail/x HTTP/1.1',
                       'Host: open.example'), 'ambiguous_target',
            'and does not open what is');
    records();
}

# The request line moves to a larger buffer wherever the small one ends: it is
# begun later and later.
sub buffers {
    my (%wrong, %tried);

    for my $blank (0 .. 40) {
        for my $host ($LONG, 'localhost') {
            for my $other ($host, "x$host", $host =~ s/.\z/x/r) {
                my $line = "GET http://$host/mail/" . 'x' x 200 . ' HTTP/1.1';
                my $wanted = $other eq $host ? '200 ok'
                                             : '400 ambiguous_target';
                my $got = outcome($t->http_raw("\r\n" x $blank
                    . lines($line, 'X: ' . 'y' x 3000, "Host: $other")));

                $wrong{"$blank $host $other: $got"}++ if $got ne $wanted;
                $tried{$wanted}++;
            }
        }
    }

    is_deeply(\%wrong, {}, 'wherever a buffer ends');
    is_deeply(\%tried, { '200 ok' => 82, '400 ambiguous_target' => 164 },
              '... all of them');
    records();
}

# What a page asks for goes by the request line of the page.
sub subrequests {
    for my $case ([ 'localhost', 'allow' ],
                  [ 'other.example', 'ambiguous_target' ])
    {
        my ($host, $word) = @$case;
        my $page = send_lines('GET http://localhost/page.html HTTP/1.1',
                              "Host: $host")->body;

        is($page =~ /"uri":/ ? 1 : 0, $word eq 'allow' ? 1 : 0,
           "a part of a page for $host");
        recorded([ $word ], '... on record');
    }
}

# nginx itself has to see to it that no request comes in with two hosts;
# whether it takes one twice depends on its version.
sub http2 {
    my $before = () = $t->upstream_requests;

    for my $case ([ 'localhost', 'other.example' ],
                  [ 'localhost', 'localhost:8443' ],
                  [ 'localhost:8443', 'localhost' ],
                  [ 'other.example', 'localhost' ],
                  [ 'localhost', 'LOCALHOST' ], [ 'localhost', '' ])
    {
        my ($authority, $host) = @$case;

        is(ask_http2($authority, $host)->status, 400,
           "over HTTP/2, $authority and \"$host\"");
    }

    is(scalar(() = $t->upstream_requests), $before,
       '... the tenant API saw nothing');
    recorded([], '... and neither did the gate');

    like(ask_http2('localhost', 'localhost')->status, qr/^(?:200|400)$/,
         'the same host twice');
    is(ask_http2('localhost', undef)->json->{headers}{host}, 'localhost',
       'a host that is an authority');
    is(ask_http2(undef, 'localhost')->json->{headers}{host}, 'localhost',
       'a host that is a field');

    my $h2 = Test::Lockbox::Http2->new($t->port(8443));

    is($h2->ask('GET', 'http://other.example/mail/x',
                token => $grant)->status, 400, 'an absolute path');
}

# nginx goes by what is in front, and hands on all of it.
sub behind_the_name {
    records();

    for my $case (
        [ 'allow', 'localhost' ], [ 'allow', 'localhost.' ],
        [ 'allow', 'localhost:80' ], [ 'allow', 'localhost.:80' ],
        [ 'allow', 'localhost:65535' ], [ 'allow', 'localhost:' ],
        [ 'allow', 'LOCALHOST.:80' ], [ 'allow', '127.0.0.1:80' ],
        [ 'allow', '[::1]' ], [ 'allow', '[::1]:80' ],
        [ 'allow', '[2001:DB8::1]:80' ],
        map({ [ 'ambiguous_target', $_ ] }
            'localhost:@other.example', 'localhost:80@other.example',
            'localhost:x@other.example:80', 'localhost:80,other.example',
            'localhost:,other.example', 'localhost:80:80', 'localhost::',
            'localhost:80.', 'localhost:#', 'localhost:?', 'localhost:-80',
            'localhost:+80', 'localhost:8O', 'localhost:;80',
            'localhost:\\other.example', "localhost:\xd9\xa3",
            '[::1]other.example', '[::1]@other.example', '[::1]:@other.example',
            '[::1]:80:80', '[::1].other.example', '[::1][::2]',
            '127.0.0.1:80a'),
        [ 400, 'localhost:/other.example' ],
        [ 400, 'localhost: other.example' ],
        [ 400, "localhost:\t80" ],
    ) {
        my ($word, $host) = @$case;

        judge($word, "Host: $host", 'GET /mail/x HTTP/1.1', "Host: $host");
        judge_http2($word, $host, undef);
        judge_http2($word, undef, $host);
    }
}

sub judge_http2 {
    my ($word, $authority, $host) = @_;

    my $name = defined $authority ? "over HTTP/2, :authority $authority"
                                  : "over HTTP/2, host: $host";
    my $before = () = $t->upstream_requests;
    my $got = ask_http2($authority, $host);

    if ($word eq '400') {
        is($got->status, 400, "$name: nginx's own 400");
    } else {
        is(outcome($got), $word eq 'allow' ? '200 ok' : "400 $word", $name);
    }

    is((() = $t->upstream_requests) - $before, $word eq 'allow' ? 1 : 0,
       "$name: what the tenant API saw");
    recorded([ $word eq '400' ? () : $word ], "$name: on record");
}

sub ask_http2 {
    my ($authority, $host) = @_;

    my $h2 = Test::Lockbox::Http2->new($t->port(8443));

    return $h2->ask('GET', '/mail/x', token => $grant,
                    pseudo => { ':authority' => $authority },
                    headers => { defined $host ? (host => $host) : () });
}
